package doctor

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"firstclick/internal/kafkagroup"
	"firstclick/migrations"
)

// facts is what was seen. The checks only read it; while it is gathered, every field has one writer, errs excepted.
type facts struct {
	cfg   Config
	sides side // that answered

	kafka    kafkaFacts
	postgres postgresFacts

	mu   sync.Mutex
	errs map[question]error // by question: no answer, or none that can be used
}

// question names what is asked, for the checks to know what they cannot know.
type question string

const (
	askVersions   question = "versions"
	askMetadata   question = "metadata"
	askBrokers    question = "brokers"
	askStarts     question = "log starts"
	askEnds       question = "log ends"
	askConfigs    question = "topic settings"
	askGroup      question = "group"
	askDirs       question = "log directories"
	askNewest     question = "newest records"
	askOldest     question = "oldest records"
	askLagging    question = "next records"
	askServer     question = "server"
	askSetup      question = "replication setup"
	askIdentify   question = "replication connection"
	askClock      question = "clock"
	askMigrations question = "migrations"
	askTarget     question = "table"
	askGrants     question = "permissions"
	askStored     question = "stored group"
	askDatabase   question = "database"
	askSessions   question = "sessions"
)

type place struct {
	topic     string
	partition int32
}

type kafkaFacts struct {
	versions   map[int32]string // by broker
	metadata   kadm.Metadata
	advertised map[string]error // by address as the brokers give it
	starts     map[place]int64
	ends       map[place]int64
	configs    map[string]map[string]string // by topic
	group      kadm.DescribedGroup
	members    kafkagroup.Judged // of the group, by the database that was asked
	dirs       []kadm.DescribedLogDir
	newest     map[place]time.Time // of the last record
	oldest     map[place]time.Time // of the first record that is still there
	lagging    map[place]time.Time // of the next checkout that Postgres does not have
}

type postgresFacts struct {
	server     server
	setup      error // of cdc.Check
	identify   error // of a replication connection
	physical   bool  // the replicating role, if it is one of its own, was let in to copy the whole server
	roles      roles
	skew, rtt  time.Duration
	migrations []migrations.FileStatus
	dropped    []string // tables that migrations made and that are not there
	target     error    // of sink.Check
	columns    []column
	missing    []string // GRANT statements
	foreign    []string // roles of sessions that we may not end
	stored     stored
}

type server struct {
	Number      int
	Version     string
	Encoding    string
	Database    string
	Role        string
	Superuser   bool
	WALLevel    string
	Slots       int
	MaxSlots    int
	Senders     int
	MaxSenders  int
	Sessions    int
	MaxSessions int
	ReadOnly    bool
	Published   bool
	Identity    string // of commerce.users; empty: no table
	WALKept     int64  // bytes of WAL that a slot may hold back; -1: any number
	Prepared    []prepared
	Size        int64  // bytes of the database; -1: not visible
	Directory   string // empty: not visible
	Started     time.Time
	Local       bool // reached by loopback or a socket

	RoleSessions, RoleLimit         int // the limit is below 0 where there is none
	DatabaseSessions, DatabaseLimit int
}

// roles are the one that replicates, where it is another than the one that writes, and what neither of them should be able to do.
type roles struct {
	Replicator                            string
	WriterReplicates, Superuser, MayWrite bool
}

// prepared is a transaction of two phases that waits for its second.
type prepared struct {
	ID, Database string
	Age          time.Duration
}

type column struct {
	Name     string
	Type     string
	Shown    string
	Modifier int32
}

// stored is what firstclick's tables say of the group.
type stored struct {
	tables    bool // they exist
	progress  *progress
	shards    []shard
	instances []instance
}

type progress struct {
	ClicksTopic, CheckoutsTopic     string
	ClicksTopicID, CheckoutsTopicID [16]byte
	Window, Lateness, OutOfOrder    time.Duration
	MaxSkew                         time.Duration
	Zone                            string
	ClicksStart, CheckoutsStart     []int64
}

type shard struct {
	Partition  int32
	TopicID    [16]byte
	Instance   string
	Next       int64
	ClicksNext []int64
	Silent     time.Duration // since its last commit
}

type instance struct {
	Name, Host string
	PID        int32
	Version    string
	Silent     time.Duration // since its last heartbeat
	Shards     []int32
}

func (f *facts) reached(s side) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sides |= s
}

func (f *facts) fail(q question, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errs == nil {
		f.errs = map[question]error{}
	}
	f.errs[q] = err
}

// unknown is a warning where one of the questions had no answer.
func (f *facts) unknown(qs ...question) []Finding {
	for _, q := range qs {
		if err := f.errs[q]; err != nil {
			return warn("", "%s: not visible: %s", q, plainly(err))
		}
	}
	return nil
}

// meaning is what the group's rows mean: as stored, else as given.
func (f *facts) meaning() (window, lateness, outOfOrder time.Duration) {
	if p := f.postgres.stored.progress; p != nil {
		return p.Window, p.Lateness, p.OutOfOrder
	}
	return f.cfg.Window, f.cfg.Lateness, f.cfg.OutOfOrder
}

// ask asks one question.
func (f *facts) ask(ctx context.Context, within time.Duration, q question, ask func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := ask(ctx); err != nil {
		f.fail(q, err)
	}
}

// all asks questions at the same time, each within so long.
func (f *facts) all(ctx context.Context, within time.Duration, questions map[question]func(context.Context) error) {
	var group sync.WaitGroup
	for q, ask := range questions {
		group.Go(func() { f.ask(ctx, within, q, ask) })
	}
	group.Wait()
}
