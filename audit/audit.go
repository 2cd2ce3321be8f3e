package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"firstclick/internal/kafkaconn"
)

const application = "firstclick audit" // application_name of our sessions

// Config says what to audit. Window, Lateness, OutOfOrder, MaxSkew, Zone and the topics are stored per group by the pipeline and taken from
// there: here zero means "as stored", and a value that differs from the stored one is an error. Only for a group that never
// ran do they count by themselves (defaults: 1 hour, 15 minutes, 15 seconds, 5 minutes, UTC, clicks, checkouts).
type Config struct {
	Kafka    kafkaconn.Config
	Database string // connection string

	ClicksTopic, CheckoutsTopic, Group string

	Window, Lateness, OutOfOrder time.Duration
	MaxSkew                      time.Duration
	Zone                         *time.Location

	TempDir    string // where the sorts spill; "" is the system's
	SortMemory int64  // bytes one sort holds before it spills; 0: 32 MiB. Up to three hold something at a time
	Examples   int    // how many of each kind the report shows; 0: 5; negative: none
	Names      bool   // demand that every row's user_name is the user's name now: only true where nobody was renamed or deleted

	Progress io.Writer // lines about how far it is; nil: none
	Logger   *slog.Logger
}

// Verify recomputes every row from Kafka and compares. The error is about not having been able to; what was found wrong is in
// the report, see Report.OK.
func Verify(ctx context.Context, cfg Config) (*Report, error) {
	a, err := newAudit(cfg)
	if err != nil {
		return nil, err
	}
	report, err := a.verify(ctx)
	return report, errors.Join(err, a.clear())
}

// audit is one run of Verify, or of Repair.
type audit struct {
	cfg      Config
	log      *slog.Logger
	dir      string // of the sorts, removed at the end
	progress *progress
	snap     snapshot
	report   Report
	expected digest
	actual   digest

	reader            *logReader
	clicks, checkouts topicLog
	gone              [2]bool   // by topic: Kafka no longer holds all from where the group began
	lost              [2]losses // likewise, what may have been in there; not for those who ask Kafka alone

	clickSort    *sorter // clicks by key, time and id
	checkoutSort *sorter // checkouts by id
	askSort      *sorter // checkouts with their row's click, by key and time
	claimSort    *sorter // rows' clicks that may be among those that Kafka has lost
	nameSort     *sorter // rows' names by user
	refusedSort  *sorter // refused checkouts
	refusedBests *sorter // and the clicks that their rows would have had

	refusedClicks *sorter // checkouts whose first click was refused
	laterClicks   *sorter // and those of them whose rows have a later one or none
	fixes         *sorter // what Repair has to write, by checkout_id; nil for Verify

	alone   alone               // for Compare and WhatIf
	several map[string]*finding // rows that records of more than one user may have written
}

func newAudit(cfg Config) (*audit, error) {
	if cfg.Group == "" {
		cfg.Group = "firstclick"
	}
	if cfg.Examples == 0 {
		cfg.Examples = 5
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp(cfg.TempDir, "firstclick-audit-")
	if err != nil {
		return nil, fmt.Errorf("make a directory to sort in: %w", err)
	}
	a := &audit{cfg: cfg, log: log, dir: dir, progress: newProgress(cfg.Progress), several: map[string]*finding{}}
	a.report.Group = cfg.Group
	a.clickSort, a.checkoutSort = a.sorter("clicks"), a.sorter("checkouts")
	a.askSort, a.claimSort = a.sorter("asks"), a.sorter("claims")
	a.nameSort = a.sorter("names")
	a.refusedSort, a.refusedBests = a.sorter("refused"), a.sorter("refused-bests")
	a.refusedClicks, a.laterClicks = a.sorter("refused-clicks"), a.sorter("later-clicks")
	return a, nil
}

func (a *audit) sorter(name string) *sorter { return newSorter(a.dir, name, a.cfg.SortMemory) }

func (a *audit) clear() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return fmt.Errorf("remove the sorts: %w", err)
	}
	return nil
}

func (a *audit) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.report.Notes = append(a.report.Notes, text)
	a.log.Info("audit notes", "group", a.cfg.Group, "note", text)
}

func (a *audit) verify(ctx context.Context) (*Report, error) {
	begun := time.Now()
	if err := a.takeSnapshot(ctx); err != nil {
		return nil, err
	}
	if err := a.examine(ctx); err != nil {
		return nil, err
	}
	r := &a.report
	r.Window = a.snap.window
	r.Rows, r.Attributed, r.Unattributed = a.snap.rowCount, a.snap.attributed, a.snap.rowCount-a.snap.attributed
	r.DeadLetters = a.snap.dead
	if n := a.snap.notLate; n > 0 {
		a.note("%s events are noted in firstclick.late that did not come too late: a watermark ran ahead of the clock. `firstclick repair` mends the rows they concern", grouped(n))
	}
	r.ExpectedDigest, r.ActualDigest = a.expected.String(), a.actual.String()
	r.Verdict = r.verdict(a.snap.known)
	r.Elapsed = time.Since(begun)
	a.progress.done()
	return r, nil
}

// examine reads Kafka and compares it with the snapshot, which must have been taken before: see the package's protocol.
func (a *audit) examine(ctx context.Context) error {
	opts, err := a.cfg.Kafka.Opts()
	if err != nil {
		return fmt.Errorf("configure kafka client: %w", err)
	}
	if a.reader, err = newLogReader(opts); err != nil {
		return err
	}
	defer a.reader.Close()
	for _, step := range []func(context.Context) error{
		a.describe,
		a.readCheckouts,
		a.compareRows, // fills askSort
		a.readClicks,
		a.attribute, // fills claimSort
		a.settleClaims,
		a.checkRefused,
		a.checkRefusedClicks,
		a.checkNames,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// describe asks Kafka for both topics and holds what the group knows about them against it.
func (a *audit) describe(ctx context.Context) error {
	s := &a.snap
	var err error
	if a.clicks, err = a.reader.describe(ctx, s.clicksTopic); err != nil {
		return err
	}
	if a.checkouts, err = a.reader.describe(ctx, s.checkoutsTopic); err != nil {
		return err
	}
	for _, t := range []struct {
		log    topicLog
		stored [16]byte
		starts []int64
		which  int
	}{{a.clicks, s.clicksID, s.clicksStart, topicClicks}, {a.checkouts, s.checkoutsID, s.checkoutsStart, topicCheckouts}} {
		if t.stored != ([16]byte{}) && t.log.id != ([16]byte{}) && t.stored != t.log.id {
			return fmt.Errorf("topic %s was deleted and created anew since group %s began: its records are not those the rows were made of", t.log.name, a.cfg.Group)
		}
		if t.log.unsure != nil {
			a.note("%s: whether it is compacted is not known (%v), and is taken for no: rows whose records compaction took are called wrong. Grant DescribeConfigs on it",
				t.log.name, t.log.unsure)
		}
		for _, p := range t.log.partitions {
			if from := startOf(t.starts, p.partition); p.logStart > from {
				a.gone[t.which] = true
				if a.alone.on {
					a.note("%s-%d: Kafka holds what is at offset %d and later: what needs older records cannot be judged", t.log.name, p.partition, p.logStart)
					continue
				}
				a.note("%s-%d: the group began at offset %d, Kafka holds what is at %d and later: rows that need older records cannot be verified",
					t.log.name, p.partition, from, p.logStart)
			}
			if p.end < p.high {
				a.note("%s-%d: a transaction has been open since offset %d of %d: what follows is not read", t.log.name, p.partition, p.end, p.high)
			}
		}
	}
	return nil
}

// startOf is where the group began in a partition. Partitions that appeared later begin at 0.
func startOf(starts []int64, partition int32) int64 {
	if int(partition) < len(starts) {
		return starts[partition]
	}
	return 0
}
