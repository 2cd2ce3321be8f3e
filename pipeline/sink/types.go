package sink

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"firstclick/join/event"
)

// Names has the names of users.
type Names interface {
	// Names adds the names of the users that exist to names. It is called before each attempt. The
	// edition is that of commerce.users which the names come from, as in cdc.EditionSQL; empty:
	// none.
	Names(ctx context.Context, ids []int32, names map[int32]string) (edition string, err error)
	// Outdated is called with an edition that commerce.users no longer has.
	Outdated(edition string)
}

// Clock is the time between attempts.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Config is what New needs.
type Config struct {
	// Database is a connection string as pgx reads it (URL or key/value).
	Database string
	// Application is the application_name of every session of this sink, 1 to 63 bytes, unique
	// among the instances that run. It is stored in firstclick.offsets.instance, and the next owner
	// of a shard ends the sessions of that name.
	Application string
	// Logger gets changes of state only; nil is slog.Default.
	Logger *slog.Logger
	// Payloads bounds the bytes of records that are kept with dead letters, by reason and hour; 0
	// is 64 MiB.
	Payloads int64
	// Metrics is where what happens is counted; nil: nowhere.
	Metrics *Metrics
	// Clock is for backing off; nil is the system's.
	Clock Clock
}

// Claim is the right to write for a shard, and how often it has been used.
type Claim struct {
	Group, Topic string
	Partition    int32
	Owner        [16]byte // random per takeover
	Commits      int64    // transactions of the shard so far, also those of owners before; moved on by Commit
}

// State is a shard as it is stored.
type State struct {
	Claim    Claim // Owner is zero in what Shards returns for a shard that nobody owns
	TopicID  [16]byte
	Position event.Position
	Instance string // application_name of the owner's sessions; empty if nobody owns the shard
}

// Clicks has the next clicks of a checkout whose first one Postgres refuses.
type Clicks interface {
	// After returns the click that comes next after (t, click), if its time is not after to.
	After(key event.Key, t int64, click event.ID, to int64) (int64, event.ID, bool)
}

// DeadLetter is a record that does not become a row.
type DeadLetter = event.DeadLetter

// Kinds of Late.
const (
	LateClick    = "click"
	LateCheckout = "checkout"
)

// Late is an event that came after the rows it could change were final.
type Late struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
	Offset    int64
	Kind      string // LateClick or LateCheckout
	EventID   string
	User      int32
	Product   string
	Time      int64
}

// Batch is what one shard writes in a transaction. An empty one moves the position only.
type Batch struct {
	Claim    *Claim // Commits is moved on when the transaction is committed
	TopicID  [16]byte
	Position event.Position
	Rows     []event.Released
	// Corrections change nothing if the stored click is as early or earlier, or if there is no
	// row. One of a row that is rejected in the same batch is left out.
	Corrections []event.Correction
	Dead        []DeadLetter
	Late        []Late
	Clicks      Clicks // nil: there are no others

	// Rejected is set by Commit: the offsets of rows that became dead letters (conflict, refused).
	Rejected []int64
	// Refused is set by Commit: checkouts whose first click Postgres refused.
	Refused []event.Refusal
}

// Result counts what a Commit did. A row given to it is in exactly one of Fresh, Duplicates,
// Conflicts and Refused.
type Result struct {
	Fresh       int64 // rows inserted
	Attributed  int64 // of them: with a click
	Duplicates  int64 // rows equal to the stored one
	Conflicts   int64 // rows that differ from the stored one of their checkout_id: dead letters
	Refused     int64 // rows that Postgres cannot hold: dead letters
	Unclicked   int64 // rows whose first click Postgres refuses: dead letters, and they have the next click or none
	Corrected   int64 // rows moved to an earlier click, by corrections and by duplicates
	DeadLetters int64 // dead letters written anew, with conflicts and refused rows
	Late        int64 // late events written anew
	Unknown     int64 // fresh rows without a name
}

// Progress is what a group was begun with, and how far all its shards are.
type Progress struct {
	Group                        string
	ClicksTopic, CheckoutsTopic  string
	ClicksTopicID                [16]byte // zero: the broker gives none
	CheckoutsTopicID             [16]byte
	Window, Lateness, OutOfOrder time.Duration // to the microsecond
	MaxSkew                      time.Duration // likewise
	Zone                         string
	Start                        string
	ClicksStart, CheckoutsStart  []int64 // where the group began, by partition
	Watermark, FinalBefore       int64   // the least over the shards, or event.NoTime
}

// Announcement describes this instance in firstclick.instances.
type Announcement struct {
	Group   string
	Host    string
	PID     int
	Version string
	Listen  string // address of the page; empty: none
	Shards  []int32
}

// Stats is the state of a sink.
type Stats struct {
	Retries   map[string]int64 // attempts that failed and were retried, by cause
	LastError string           // text of the last such failure; empty once something has succeeded since
}

// LostShardsError says that shards of a Commit are not ours any more.
type LostShardsError struct {
	Fenced []int32 // partitions whose shards have another owner now: drop them and rejoin
	// Rewound are partitions of which Postgres has lost transactions that it had confirmed (it
	// failed over to a standby that lagged): claim them again and rebuild from the stored position.
	Rewound []int32
	// Committed: the transaction was committed all the same. The claims of the other shards have
	// been moved on.
	Committed bool
}

func (e *LostShardsError) Error() string {
	var parts []string
	if len(e.Fenced) > 0 {
		parts = append(parts, "another instance owns checkouts partitions "+partitionList(e.Fenced))
	}
	if len(e.Rewound) > 0 {
		parts = append(parts, "Postgres lost confirmed transactions of checkouts partitions "+partitionList(e.Rewound))
	}
	return strings.Join(parts, "; ")
}

func partitionList(partitions []int32) string {
	return strings.Join(list(partitions, func(p int32) string { return strconv.Itoa(int(p)) }), ", ")
}
