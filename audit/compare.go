package audit

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Other says which table Compare looks at.
type Other struct {
	Table        string        // as one would type it in SQL, such as legacy.attributed_checkouts; a view will do
	Since, Until time.Time     // only checkouts of event times in [Since, Until); zero: all
	Grace        time.Duration // records stamped within so long before the table was read need not be in it yet
}

// Compare recomputes the click of every checkout from all that Kafka holds, and compares any table
// with that, such as another job's. Every click counts, however late. An error says that it could
// not.
func Compare(ctx context.Context, cfg Config, other Other) (*Comparison, error) {
	c := &compareRun{run: newRun(cfg, true), other: other}
	return &c.out, c.onDisk(func() error { return c.compare(ctx) })
}

// compareRun is one run of Compare.
type compareRun struct {
	*run
	other Other
	out   Comparison
	group plainGroup
}

func (c *compareRun) compare(ctx context.Context) error {
	begun := time.Now()
	// The ends of Kafka are read afterwards, so no row can be of a record beyond them.
	c.pendingAfter = time.Now().Add(-c.other.Grace).UnixMicro()
	err := c.readSnapshot(ctx, c.readSettings, func(ctx context.Context, tx pgx.Tx) error {
		return c.readTable(ctx, tx, c.other.Table)
	})
	if err != nil {
		return err
	}
	if err := c.readKafka(ctx, c); err != nil {
		return err
	}
	c.progress.phase("clicks of rows compared", c.enqueued)
	w := newWindow(&c.snap)
	for k, err := range c.walk(ctx, w) {
		if err != nil {
			return err
		}
		if f := c.judge(k, w); !c.postponed(f) {
			c.count(f)
		}
	}
	for _, f := range c.several {
		c.count(f)
	}
	r, s := &c.out, &c.snap
	r.Table, r.Window, r.Rows, r.Attributed = c.other.Table, s.window, s.rowCount, s.attributed
	r.Clicks, r.Checkouts, r.Invalid, r.Notes = c.report.Clicks, c.report.Checkouts, c.invalid, c.report.Notes
	r.ExpectedDigest, r.ActualDigest = c.expected.String(), c.actual.String()
	r.Elapsed = time.Since(begun)
	return nil
}

// readTable reads the columns of any table that say which click a checkout has.
func (r *run) readTable(ctx context.Context, tx pgx.Tx, table string) error {
	columns, name, err := lookUpTable(ctx, tx, table)
	if err != nil {
		return err
	}
	var missing []string
	for _, want := range []string{"checkout_id", "click_id", "click_time"} {
		if _, ok := columns[want]; !ok {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w %s has no column %s: name a view that has checkout_id, click_id, click_time "+
			"and, if need be, checkout_time", ErrTable, table, strings.Join(missing, ", "))
	}
	r.snap.columns = columns
	return r.addRows(ctx, tx, table, selectRows(columns, name, false, asText))
}

// plainGroup is what there is of one checkout_id: its rows, and the first record of each partition.
// Records of the same user, product and time are kept once.
type plainGroup struct {
	rows      []item
	checkouts []item
	records   int64
	partition int32 // of the last record
}

// row is the first of them; nil: there is none.
func (f *plainGroup) row() *item {
	if len(f.rows) == 0 {
		return nil
	}
	return &f.rows[0]
}

func (f *plainGroup) add(x *item) {
	if x.kind == kindRow {
		f.rows = append(f.rows, *x)
		return
	}
	f.records++
	if f.records > 1 && x.partition == f.partition {
		return
	}
	f.partition = x.partition
	for _, k := range f.checkouts {
		if k.user == x.user && k.product == x.product && k.time == x.time {
			return
		}
	}
	f.checkouts = append(f.checkouts, *x)
}

func (c *compareRun) add(x *item) { c.group.add(x) }

func (c *compareRun) inside(micros int64) bool {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !c.other.Since.IsZero() {
		from = c.other.Since.UnixMicro()
	}
	if !c.other.Until.IsZero() {
		to = c.other.Until.UnixMicro()
	}
	return from <= micros && micros < to
}

// conclude counts what needs no click, and enqueues the rest.
func (c *compareRun) conclude() {
	g := c.group
	c.group = plainGroup{}
	c.out.Duplicates += max(0, g.records-1)
	inside := len(g.rows) > 0 && len(g.checkouts) == 0 && (g.rows[0].flags&flagTimed == 0 || c.inside(g.rows[0].time))
	for _, k := range g.checkouts {
		inside = inside || c.inside(k.time)
	}
	if !inside {
		c.out.Outside++
		return
	}
	for i, row := range g.rows {
		if i > 0 {
			c.actual.add(row.id, row.click)
			c.example(KindDoubled, &c.out.Doubled, noRecord(row.id, "one row", "another one: "+row.click.String()))
		}
	}
	if len(g.checkouts) == 0 {
		row := g.rows[0]
		c.actual.add(row.id, row.click)
		if c.gone[topicCheckouts] {
			c.expected.add(row.id, row.click)
			c.example(KindUnverifiable, &c.out.Unverifiable,
				noRecord(row.id, "unknown: Kafka no longer holds the checkout", row.click.String()))
		} else {
			c.example(KindExtra, &c.out.Extra,
				noRecord(row.id, "no row: no checkout in Kafka has this checkout_id", row.click.String()))
		}
	}
	several := int32(0)
	if len(g.checkouts) > 1 {
		several = flagSeveral
	}
	for _, k := range g.checkouts {
		k.values = nil
		c.enqueue(k, g.row(), several)
	}
}

func noRecord(id, expected, actual string) Example {
	return Example{CheckoutID: id, Expected: expected, Actual: actual, Partition: -1, Offset: -1}
}

// judge compares a row's click with the first of all in the window, and the first that need have
// had its effect by now.
func (c *compareRun) judge(k *item, w *window) *finding {
	f := &finding{k: *k}
	f.best = w.column.storedClick(w.first(rule{}, shard{}))
	f.read = w.column.storedClick(w.first(rule{without: flagPending}, shard{}))
	row, there := k.click, k.flags&flagRow != 0
	inWindow := row.ok() && row.time >= k.time-w.length && row.time <= k.time
	different := func(counter *int64) { f.kind, f.counter = KindDifferent, counter }
	switch {
	case there && row == f.best:
	case k.flags&flagPending != 0,
		there && !row.halfSet() && row.compare(f.best) > 0 && row.compare(f.read) <= 0:
		f.kind = KindPending
	case !there:
		f.kind = KindMissing
	case row.halfSet(), row.ok() && row.id == f.best.id:
		different(&c.out.Mistimed)
	case c.gone[topicClicks] && inWindow && row.compare(f.best) < 0:
		f.kind = KindUnverifiable
	case !row.ok():
		different(&c.out.Unattributed)
	case !f.best.ok():
		different(&c.out.Misled)
	case row.compare(f.best) > 0:
		different(&c.out.Later)
	default:
		different(&c.out.Earlier)
	}
	return f
}

func (c *compareRun) count(f *finding) {
	r, k, want := &c.out, &f.k, f.best
	if f.kind == KindPending || f.kind == KindUnverifiable {
		want = k.click // not held against the table
	}
	there := k.flags&flagRow != 0
	if there {
		c.actual.add(k.id, k.click)
	}
	if there || f.kind == KindMissing {
		c.expected.add(k.id, want)
	}
	e := c.exampleOf(f.kind, k, answerText(f.best.String(), k), clickText(k))
	switch f.kind {
	case "":
		r.Same++
	case KindPending:
		r.Pending++
	case KindUnverifiable:
		c.example(f.kind, &r.Unverifiable, e)
	case KindMissing:
		c.example(f.kind, &r.Missing, e)
	default:
		*f.counter++
		c.example(f.kind, &r.Different, e)
	}
}

// example counts a finding, and keeps it while there are few of its kind.
func (c *compareRun) example(kind Kind, counter *int64, e Example) {
	if *counter++; *counter <= int64(c.cfg.Examples) {
		e.Kind = kind
		c.out.Examples = append(c.out.Examples, e)
	}
}
