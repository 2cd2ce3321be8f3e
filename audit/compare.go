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

// Comparison is what Compare found. Numbers count checkout_ids unless said otherwise.
type Comparison struct {
	Table  string        `json:"table"`
	Window time.Duration `json:"window_ns"`

	Clicks     int64            `json:"clicks"`     // valid clicks read from Kafka
	Checkouts  int64            `json:"checkouts"`  // valid checkouts read from Kafka, duplicates included
	Duplicates int64            `json:"duplicates"` // checkouts beyond the first of their checkout_id
	Invalid    map[string]int64 `json:"invalid"`    // records that are no events, by reason: nobody can have made rows of them
	Rows       int64            `json:"rows"`       // rows of the table
	Attributed int64            `json:"attributed"` // rows with a click
	Outside    int64            `json:"outside"`    // left out by Since and Until

	Same         int64 `json:"same"`
	Missing      int64 `json:"missing"`      // checkouts that the table has no row of
	Extra        int64 `json:"extra"`        // rows of no checkout in Kafka
	Doubled      int64 `json:"doubled"`      // rows beyond the first of their checkout_id
	Different    int64 `json:"different"`    // rows with another click; the five below say how
	Unattributed int64 `json:"unattributed"` // without a click, and there is one
	Misled       int64 `json:"misled"`       // with a click, and there is none
	Later        int64 `json:"later"`        // with a later click than the first
	Earlier      int64 `json:"earlier"`      // with an earlier one than there is in the window
	Mistimed     int64 `json:"mistimed"`     // the right click_id at another click_time, or without one
	Pending      int64 `json:"pending"`      // too fresh to be judged
	Unverifiable int64 `json:"unverifiable"` // needs records that Kafka no longer holds

	// Digests of (checkout_id, click_id, click_time) over what was judged, as Verify's.
	ExpectedDigest string `json:"expected_digest"`
	ActualDigest   string `json:"actual_digest"`

	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// OK is true when the table says what Kafka's records say, as far as that can be judged.
func (r Comparison) OK() bool {
	return r.Missing == 0 && r.Extra == 0 && r.Doubled == 0 && r.Different == 0
}

// KindDoubled is a row beyond the first of its checkout_id.
const KindDoubled Kind = "doubled"

// Compare recomputes the click of every checkout from all that Kafka holds, and compares a table of any
// origin with that, such as another job's. The truth has every click, however late. The error is
// about not having been able to.
func Compare(ctx context.Context, cfg Config, other Other) (*Comparison, error) {
	c := &compareRun{run: newRun(cfg, true), other: other, several: map[string]*difference{}}
	return &c.out, c.onDisk(func() error { return c.compare(ctx) })
}

// compareRun is one run of Compare.
type compareRun struct {
	*run
	other            Other
	out              Comparison
	expected, actual digest
	group            firsts
	several          map[string]*difference // checkout_ids with several checkouts: the row may be right for any of them
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
	c.progress.phase("clicks of rows compared", c.asked)
	if err := c.walk(ctx, c.judge); err != nil {
		return err
	}
	for _, d := range c.several {
		c.count(d)
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
		return fmt.Errorf("%w %s has no column %s: name a view that has checkout_id, click_id, click_time and, if need be, checkout_time",
			ErrTable, table, strings.Join(missing, ", "))
	}
	r.snap.columns = columns
	return r.addRows(ctx, tx, table, selectRows(columns, name, false, asText))
}

// firsts is what there is of one checkout_id: its rows, and the first checkout of each partition, of
// several with the same user, product and time one. Which of several partitions' records comes first
// is for the pipeline to decide; within a partition it is the one with the lowest offset.
type firsts struct {
	rows      []item
	checkouts []item
	records   int64
	partition int32 // of the last record
}

func (f *firsts) add(x *item) {
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

// ask puts a checkout into the stream by key, with the checkout_id's row and the given values.
func (r *run) ask(k item, rows []item, flags int32, values ...optional) error {
	k.flags, k.values = k.flags|flags, values
	if len(rows) > 0 {
		k.flags |= flagRow
		k.click = rows[0].click
	}
	r.asked++
	return r.byKey.add(&k)
}

func (c *compareRun) add(x *item) error {
	c.group.add(x)
	return nil
}

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

// conclude counts what needs no click, and asks for the clicks of the rest.
func (c *compareRun) conclude() error {
	g := c.group
	c.group = firsts{}
	c.out.Duplicates += max(0, g.records-1)
	inside := len(g.rows) > 0 && len(g.checkouts) == 0 && (g.rows[0].flags&flagTimed == 0 || c.inside(g.rows[0].time))
	for _, k := range g.checkouts {
		inside = inside || c.inside(k.time)
	}
	if !inside {
		c.out.Outside++
		return nil
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
		if err := c.ask(k, g.rows, several); err != nil {
			return err
		}
	}
	return nil
}

func noRecord(id, expected, actual string) Example {
	return Example{CheckoutID: id, Expected: expected, Actual: actual, Partition: -1, Offset: -1}
}

// difference is what is to be said of a checkout's row.
type difference struct {
	k       item // with the row's click
	best    click
	kind    Kind   // "": the row is right
	counter *int64 // of KindDifferent: how
}

// judge compares a row's click with the first of all in the window, and the first that need have had
// its effect by now.
func (c *compareRun) judge(k *item, w *window) error {
	d := &difference{k: *k, best: w.column.storedClick(w.first(rule{}, shard{}))}
	read := w.column.storedClick(w.first(rule{without: flagPending}, shard{}))
	row, there := k.click, k.flags&flagRow != 0
	inWindow := row.ok() && row.time >= k.time-w.length && row.time <= k.time
	different := func(counter *int64) { d.kind, d.counter = KindDifferent, counter }
	switch {
	case there && row == d.best:
	case k.flags&flagPending != 0,
		there && !row.odd() && row.compare(d.best) > 0 && row.compare(read) <= 0:
		d.kind = KindPending
	case !there:
		d.kind = KindMissing
	case row.odd(), row.ok() && row.id == d.best.id:
		different(&c.out.Mistimed)
	case c.gone[topicClicks] && inWindow && row.compare(d.best) < 0:
		d.kind = KindUnverifiable
	case !row.ok():
		different(&c.out.Unattributed)
	case !d.best.ok():
		different(&c.out.Misled)
	case row.compare(d.best) > 0:
		different(&c.out.Later)
	default:
		different(&c.out.Earlier)
	}
	if k.flags&flagSeveral == 0 {
		c.count(d)
	} else if before := c.several[k.id]; before == nil || leniency(d.kind) < leniency(before.kind) {
		c.several[k.id] = d
	}
	return nil
}

func (c *compareRun) count(d *difference) {
	r, k, want := &c.out, &d.k, d.best
	if d.kind == KindPending || d.kind == KindUnverifiable {
		want = k.click // not held against the table
	}
	there := k.flags&flagRow != 0
	if there {
		c.actual.add(k.id, k.click)
	}
	if there || d.kind == KindMissing {
		c.expected.add(k.id, want)
	}
	e := Example{
		CheckoutID: k.id, Topic: c.logs[topicCheckouts].name, Partition: k.partition, Offset: k.offset,
		Expected: describeAnswer(d.best.String(), k), Actual: k.click.String(),
	}
	switch {
	case !there:
		e.Actual = "no row"
	case k.click.odd():
		e.Actual = "click_id and click_time are not both set or both NULL"
	}
	switch d.kind {
	case "":
		r.Same++
	case KindPending:
		r.Pending++
	case KindUnverifiable:
		c.example(d.kind, &r.Unverifiable, e)
	case KindMissing:
		c.example(d.kind, &r.Missing, e)
	default:
		*d.counter++
		c.example(KindDifferent, &r.Different, e)
	}
}

// example counts a finding, and keeps it while there are few of its kind.
func (c *compareRun) example(kind Kind, counter *int64, e Example) {
	if *counter++; *counter <= int64(c.cfg.Examples) {
		e.Kind = kind
		c.out.Examples = append(c.out.Examples, e)
	}
}
