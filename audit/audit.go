package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"firstclick/internal/kafkaconn"
)

// Config says what to audit. Window, Lateness, OutOfOrder, MaxSkew, Zone and the topics are stored
// per group by the pipeline. Here zero means "as stored", and a value that differs from the stored
// one is a *SettingsError. Only for a group that never ran do they count by themselves (defaults: 1
// hour, 15 minutes, 15 seconds, 5 minutes, UTC, clicks, checkouts).
type Config struct {
	Kafka    kafkaconn.Config
	Database string // connection string

	ClicksTopic, CheckoutsTopic, Group string

	Window, Lateness, OutOfOrder time.Duration
	MaxSkew                      time.Duration
	Zone                         *time.Location

	TempDir    string // where the sorts spill; "" is the system's
	SortMemory int64  // bytes one sort holds before it spills; 0: 32 MiB. Up to four hold something at a time
	Examples   int    // how many of each kind the report shows; 0: 5; negative: none
	Names      bool   // demand that every row's user_name is the user's name now: nobody was renamed or deleted

	Progress io.Writer // lines about how far it is; nil: none
	Logger   *slog.Logger
}

// run is one run of any command: what it reads from Postgres and Kafka, and the streams that it
// sorts.
type run struct {
	cfg      Config
	log      *slog.Logger
	dir      string // of the sorts, removed at the end
	progress *phases
	snap     snapshot
	report   Report

	reader *logReader
	logs   [2]topicLog
	gone   [2]bool   // by topic: Kafka no longer holds all from where the group began
	lost   [2]losses // likewise, what may have been in there

	byID     *sorter // rows and checkouts by checkout_id
	byKey    *sorter // users, clicks, and checkouts with their row's click, by user, product and time
	entries  *sorter // dead letters and late events, by place
	enqueued int64   // checkouts in byKey

	expected, actual digest
	several          map[string]*finding // by checkout_id, about rows that several records may have written

	// Compare and WhatIf read of firstclick's own tables no more than what the group was begun
	// with. So they can judge a table that somebody else wrote, and a rule that nobody ran with.
	fromKafka    bool
	pendingAfter int64            // microseconds: records stamped later need not have had their effect
	invalid      map[string]int64 // records that are no events, by reason
}

func newRun(cfg Config, fromKafka bool) *run {
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
	r := &run{cfg: cfg, log: log, progress: &phases{out: cfg.Progress}, fromKafka: fromKafka, pendingAfter: endless}
	r.report.Group, r.invalid, r.several = cfg.Group, map[string]int64{}, map[string]*finding{}
	r.lost = [2]losses{newLosses(), newLosses()}
	return r
}

// onDisk makes the sorts, calls do, and removes them.
func (r *run) onDisk(do func() error) (err error) {
	if r.dir, err = os.MkdirTemp(r.cfg.TempDir, "firstclick-audit-"); err != nil {
		return fmt.Errorf("make a directory to sort in: %w", err)
	}
	r.byID, r.byKey, r.entries = r.sorter("checkouts", byID), r.sorter("clicks", byKey), r.sorter("entries", byPlace)
	err = do()
	r.progress.done()
	if removeErr := os.RemoveAll(r.dir); removeErr != nil {
		err = errors.Join(err, fmt.Errorf("remove the sorts: %w", removeErr))
	}
	return err
}

func (r *run) sorter(name string, order order) *sorter {
	return newSorter(r.dir, name, r.cfg.SortMemory, order)
}

// note adds a note to the report, once.
func (r *run) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(r.report.Notes, text) {
		return
	}
	r.report.Notes = append(r.report.Notes, text)
	r.log.Info("audit notes", "group", r.cfg.Group, "note", text)
}

// readKafka reads both topics, checkouts first, and sorts them. In between, p sees all
// checkout_ids. The snapshot must have been read before: see the package's protocol.
func (r *run) readKafka(ctx context.Context, p checkoutPolicy) (err error) {
	if r.reader, err = newLogReader(r.cfg.Kafka); err != nil {
		return err
	}
	defer r.reader.Close()
	if err := r.describeTopics(ctx, false); err != nil {
		return err
	}
	if err := r.readTopic(ctx, topicCheckouts); err != nil {
		return err
	}
	if err := r.eachCheckout(ctx, p); err != nil {
		return err
	}
	return r.readTopic(ctx, topicClicks)
}
