package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"firstclick/internal/escape"
	"firstclick/internal/kafkaconn"
)

// What the questions may take: in the worst case one after the other.
const (
	reachWithin  = 4500 * time.Millisecond // every address of a side, side by side
	askWithin    = 3 * time.Second         // every question to a side, side by side
	recordWithin = 2 * time.Second         // the records that offsets in Postgres name
)

// Config says whom to examine. Durations are those a run would be given: they are compared with the stored ones.
type Config struct {
	Kafka                  kafkaconn.Config
	Database               string // connection string as pgx reads it
	Replication            string // that of the role that replicates; empty: Database
	ClicksTopic            string
	CheckoutsTopic         string
	Group                  string
	Window                 time.Duration
	Lateness               time.Duration
	OutOfOrder             time.Duration
	MaxSkew                time.Duration
	Zone                   *time.Location
	Now                    func() time.Time // nil: time.Now
	reachWithin, askWithin time.Duration    // 0: the constants; for tests
	fileSystem             func(path string) (disk, error)
	readFile               func(path string) ([]byte, error)
}

// Status is a finding's weight; the words are those of the output.
type Status string

// The statuses, from good to bad.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Finding is one line of the report.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"` // what to paste: a command, SQL, or a flag

	about string // what tells it from the check's other findings, where it is looked for twice
}

// Report is what was found, in the order of the checks.
type Report struct {
	Findings []Finding `json:"findings"`
	Failed   int       `json:"fail"`
	Warned   int       `json:"warn"`
	Fine     int       `json:"ok"`
}

// OK says that nothing failed.
func (r *Report) OK() bool { return r.Failed == 0 }

// WriteTo writes the report for people.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-4s  %-*s  %s\n", f.Status, width, f.Check, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "      %*s  fix: %s\n", width, "", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d warn, %d fail\n", r.Fine, r.Warned, r.Failed)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (r *Report) add(check string, findings []Finding) {
	for _, f := range findings {
		f.Check = check
		f.Text, f.Fix = oneLine(f.Text), oneLine(f.Fix)
		switch f.Status {
		case OK:
			r.Fine++
		case Warn:
			r.Warned++
		case Fail:
			r.Failed++
		}
		r.Findings = append(r.Findings, f)
	}
}

// oneLine also takes away what a terminal would obey: names and messages come from the other side.
func oneLine(text string) string {
	return escape.Text([]byte(strings.Join(strings.Fields(text), " ")))
}

func ok(format string, args ...any) []Finding {
	return []Finding{{Status: OK, Text: fmt.Sprintf(format, args...)}}
}

func warn(fix, format string, args ...any) []Finding {
	return []Finding{{Status: Warn, Text: fmt.Sprintf(format, args...), Fix: fix}}
}

func fail(fix, format string, args ...any) []Finding {
	return []Finding{{Status: Fail, Text: fmt.Sprintf(format, args...), Fix: fix}}
}

// about says what findings are about, for the second look.
func about(what string, found []Finding) []Finding {
	for i := range found {
		found[i].about = what
	}
	return found
}

// side is what a check needs to have been reached.
type side int

const (
	kafkaSide side = 1 << iota
	postgresSide
)

// check judges facts. It may return several findings, or none where there is nothing to say.
type check struct {
	name  string
	needs side
	judge func(*facts) []Finding
}

// moves says whether it compares what moves on both sides: what is wrong then is said when a second look agrees.
func (c check) moves() bool { return c.needs == kafkaSide|postgresSide }

func checks() []check {
	return []check{
		{"kafka version", kafkaSide, kafkaVersion},
		{"kafka brokers", kafkaSide, advertised},
		{"topics", kafkaSide, topics},
		{"replication", kafkaSide, replicas},
		{"retention", kafkaSide, retention},
		{"record times", kafkaSide, recordTimes},
		{"kafka disk", kafkaSide, kafkaDisk},
		{"postgres version", postgresSide, postgresVersion},
		{"writable", postgresSide, writable},
		{"wal_level", postgresSide, walLevel},
		{"slots", postgresSide, slots},
		{"slot limit", postgresSide, slotLimit},
		{"senders", postgresSide, senders},
		{"replication right", postgresSide, replicationRight},
		{"users", postgresSide, users},
		{"publication", postgresSide, publication},
		{"connections", postgresSide, connections},
		{"migrations", postgresSide, migrated},
		{"columns", postgresSide, columns},
		{"amounts", postgresSide, amounts},
		{"permissions", postgresSide, permissions},
		{"takeover", postgresSide, takeover},
		{"postgres clock", postgresSide, postgresClock},
		{"postgres disk", postgresSide, postgresDisk},
		{"settings", postgresSide, settings},
		{"instances", postgresSide, instances},
		{"group", kafkaSide | postgresSide, group},
		{"offsets", kafkaSide | postgresSide, offsets},
	}
}

// Run examines both sides. It returns within ten seconds, sooner when ctx ends; what was not answered by then is in the report as such.
func Run(ctx context.Context, cfg Config) *Report {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.reachWithin == 0 {
		cfg.reachWithin, cfg.askWithin = reachWithin, askWithin
	}
	if cfg.fileSystem == nil {
		cfg.fileSystem, cfg.readFile = diskOf, readSmall
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.reachWithin+cfg.askWithin+recordWithin)
	defer cancel()
	f := &facts{cfg: cfg}
	kafka, kafkaErr := newKafka(cfg)
	postgres, postgresErr := newPostgres(cfg)
	defer kafka.close()
	defer postgres.close()

	var brokers, servers []Finding
	var sides sync.WaitGroup
	sides.Go(func() {
		if brokers = kafka.reach(ctx, kafkaErr); reached(brokers) {
			f.reached(kafkaSide)
		}
	})
	sides.Go(func() {
		if servers = postgres.reach(ctx, postgresErr); reached(servers) {
			f.reached(postgresSide)
		}
	})
	sides.Wait()
	look := &looks{kafka: kafka, postgres: postgres}
	look.first(ctx, f)
	again := look.second(ctx, f)

	report := &Report{}
	report.add("kafka", brokers)
	report.add("postgres", servers)
	unseen := 0
	for _, c := range checks() {
		if f.sides&c.needs != c.needs {
			unseen++
			continue
		}
		found := c.judge(f)
		if c.moves() {
			found = agreed(found, again, c.judge)
		}
		report.add(c.name, found)
	}
	if unseen > 0 {
		report.add("unseen", warn("", "%d checks need what was not reached: mend that first", unseen))
	}
	return report
}

// reached says whether an address of a side answered.
func reached(findings []Finding) bool {
	for _, f := range findings {
		if f.Status == OK {
			return true
		}
	}
	return false
}
