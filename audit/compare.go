package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
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

// Compare recomputes the click of every checkout from Kafka, all of it, and holds a table of any origin against that: the one that
// another job writes, say. The truth has every click, however late. The error is about not having been able to.
func Compare(ctx context.Context, cfg Config, other Other) (*Comparison, error) {
	a, err := newAlone(cfg)
	if err != nil {
		return nil, err
	}
	c := &comparing{audit: a, other: other, several: map[string]*judged{}}
	err = c.run(ctx)
	return &c.report, errors.Join(err, a.clear())
}

// comparing is one run of Compare.
type comparing struct {
	*audit
	other   Other
	report  Comparison
	several map[string]*judged // checkout_ids with several different checkouts: the row may be right for any of them
}

func (c *comparing) run(ctx context.Context) error {
	begun := time.Now()
	if err := c.readTable(ctx); err != nil {
		return err
	}
	if err := c.readAlone(ctx, func(ctx context.Context) error { return c.groups(ctx, c.ask) }); err != nil {
		return err
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	r, s := &c.report, &c.snap
	r.Table, r.Window, r.Rows, r.Attributed = c.other.Table, s.window, s.rowCount, s.attributed
	r.Clicks, r.Checkouts, r.Invalid = c.audit.report.Clicks, c.audit.report.Checkouts, c.alone.invalid
	r.Notes = c.audit.report.Notes
	r.ExpectedDigest, r.ActualDigest = c.expected.String(), c.actual.String()
	r.Elapsed = time.Since(begun)
	c.progress.done()
	return nil
}

// readTable takes the snapshot. Kafka's ends are asked for afterwards, so no row can be of a record beyond them.
func (c *comparing) readTable(ctx context.Context) error {
	conn, tx, err := begin(ctx, c.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	c.alone.pendingAfter = time.Now().Add(-c.other.Grace).UnixMicro()
	return errors.Join(c.takeMeaning(ctx, tx), c.readForeign(ctx, tx, c.other.Table))
}

func (c *comparing) inside(micros int64) bool {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !c.other.Since.IsZero() {
		from = c.other.Since.UnixMicro()
	}
	if !c.other.Until.IsZero() {
		to = c.other.Until.UnixMicro()
	}
	return from <= micros && micros < to
}

// ask judges what needs no click, and asks for the clicks of the rest.
func (c *comparing) ask(g *group) error {
	c.report.Duplicates += max(0, g.records-1)
	inside := len(g.rows) > 0 && len(g.firsts) == 0 && (!g.rows[0].timed || c.inside(g.rows[0].time))
	for _, k := range g.firsts {
		inside = inside || c.inside(k.time)
	}
	if !inside {
		c.report.Outside++
		return nil
	}
	for i, row := range g.rows {
		if i > 0 {
			c.actual.add(row.id, row.click.id, row.click.time, row.click.ok)
			c.example(KindDoubled, &c.report.Doubled, Example{CheckoutID: g.id, Expected: "one row", Actual: "another one: " + row.click.String(), Partition: -1, Offset: -1})
		}
	}
	if len(g.firsts) == 0 {
		return c.withoutCheckout(g.rows[0])
	}
	for _, k := range g.firsts {
		q := question{sale: k}
		if len(g.rows) > 0 {
			q.row = g.rows[0]
		}
		if len(g.firsts) > 1 {
			q.flags |= flagSeveral
		}
		if err := c.askSort.Add(q.append(nil)); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparing) withoutCheckout(row attributed) error {
	c.actual.add(row.id, row.click.id, row.click.time, row.click.ok)
	kind, counter, want := KindExtra, &c.report.Extra, "no row: no checkout in Kafka has this checkout_id"
	if c.gone[topicCheckouts] {
		kind, counter, want = KindUnverifiable, &c.report.Unverifiable, "unknown: Kafka no longer holds the checkout"
		c.expected.add(row.id, row.click.id, row.click.time, row.click.ok)
	}
	c.example(kind, counter, Example{CheckoutID: row.id, Expected: want, Actual: row.click.String(), Partition: -1, Offset: -1})
	return nil
}

// compare walks through questions and clicks by user, product and time.
func (c *comparing) compare(ctx context.Context) error {
	c.progress.phase("clicks of rows compared", c.askSort.count)
	questions, err := newStream(c.askSort, parseQuestion)
	if err != nil {
		return err
	}
	defer questions.Close()
	all, settled := &best{}, &best{without: flagPending}
	for _, b := range []*best{all, settled} {
		if b.stream, err = newStream(c.clickSort, parseClick); err != nil {
			return err
		}
		defer b.Close() //nolint:gocritic // two of them, for as long as the walk takes
	}
	window := c.snap.window.Microseconds()
	for questions.ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		j := judged{question: questions.head}
		if j.best, err = all.of(j.key(), window); err != nil {
			return err
		}
		if j.settled, err = settled.of(j.key(), window); err != nil {
			return err
		}
		c.judge(&j)
		c.progress.add(1)
		if err := questions.next(); err != nil {
			return err
		}
	}
	for _, j := range c.several {
		c.conclude(j)
	}
	return nil
}

// judged is a question with its answers, and what is to be said about the row.
type judged struct {
	question
	best, settled winner
	kind          Kind
	counter       func(*Comparison) *int64 // how it differs
}

// judge finds the kind; "" is that the row is right.
func (c *comparing) judge(j *judged) {
	stored := c.snap.columns["click_time"].storedTime
	j.best.time, j.settled.time = stored(j.best.time), stored(j.settled.time)
	row, best := j.row, j.best
	inWindow := row.click.ok && row.click.time >= j.time-c.snap.window.Microseconds() && row.click.time <= j.time
	switch {
	case row.there && row.click == best && !row.odd:
	case j.flags&flagPending != 0,
		row.there && !row.odd && row.click.compare(best) > 0 && row.click.compare(j.settled) <= 0:
		j.kind = KindPending
	case !row.there:
		j.kind = KindMissing
	case row.odd, row.click.ok && row.click.id == best.id:
		j.kind, j.counter = KindDifferent, func(r *Comparison) *int64 { return &r.Mistimed }
	case c.gone[topicClicks] && inWindow && row.click.compare(best) < 0:
		j.kind = KindUnverifiable
	case !row.click.ok:
		j.kind, j.counter = KindDifferent, func(r *Comparison) *int64 { return &r.Unattributed }
	case !best.ok:
		j.kind, j.counter = KindDifferent, func(r *Comparison) *int64 { return &r.Misled }
	case row.click.compare(best) > 0:
		j.kind, j.counter = KindDifferent, func(r *Comparison) *int64 { return &r.Later }
	default:
		j.kind, j.counter = KindDifferent, func(r *Comparison) *int64 { return &r.Earlier }
	}
	if j.flags&flagSeveral == 0 {
		c.conclude(j)
		return
	}
	if before := c.several[j.id]; before == nil || leniency(j.kind) < leniency(before.kind) {
		c.several[j.id] = j
	}
}

// conclude counts.
func (c *comparing) conclude(j *judged) {
	r, want := &c.report, j.best
	if j.kind == KindPending || j.kind == KindUnverifiable {
		want = j.row.click // not held against the table
	}
	if j.row.there {
		c.actual.add(j.id, j.row.click.id, j.row.click.time, j.row.click.ok)
	}
	if j.row.there || j.kind == KindMissing {
		c.expected.add(j.id, want.id, want.time, want.ok)
	}
	actual := j.row.click.String()
	switch {
	case !j.row.there:
		actual = "no row"
	case j.row.odd:
		actual = "click_id and click_time are not both set or both NULL"
	}
	e := Example{
		CheckoutID: j.id, Topic: c.checkouts.name, Partition: j.partition, Offset: j.offset, Actual: actual,
		Expected: fmt.Sprintf("%s, user %d, product %s, checkout_time %s", j.best, j.user, quote(j.product), formatTime(j.time)),
	}
	switch j.kind {
	case "":
		r.Same++
	case KindPending:
		r.Pending++
	case KindUnverifiable:
		c.example(j.kind, &r.Unverifiable, e)
	case KindMissing:
		c.example(j.kind, &r.Missing, e)
	default:
		*j.counter(r)++
		c.example(KindDifferent, &r.Different, e)
	}
}

// example counts a finding, and keeps it while there are few of its kind.
func (c *comparing) example(kind Kind, counter *int64, e Example) {
	if *counter++; *counter <= int64(c.cfg.Examples) {
		e.Kind = kind
		c.report.Examples = append(c.report.Examples, e)
	}
}

// WriteTo prints the comparison for people.
func (r Comparison) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s against Kafka, window %s: read %s clicks and %s checkouts (%s duplicates), %s rows (%s with a click) in %s\n\n",
		r.Table, r.Window, grouped(r.Clicks), grouped(r.Checkouts), grouped(r.Duplicates), grouped(r.Rows), grouped(r.Attributed), r.Elapsed.Round(10*time.Millisecond))
	line := func(n int64, name, meaning string) { fmt.Fprintf(&b, "%14s  %-12s %s\n", grouped(n), name, meaning) }
	some := func(n int64, name, meaning string) {
		if n > 0 {
			line(n, name, meaning)
		}
	}
	line(r.Same, "same", "rows that are what Kafka's records say")
	line(r.Missing, "missing", "checkouts without a row")
	line(r.Extra, "extra", "rows of no checkout in Kafka")
	some(r.Doubled, "doubled", "rows beyond the first of their checkout_id")
	different := "rows with another click"
	if r.Different > 0 {
		different += ", of these:"
	}
	line(r.Different, "different", different)
	some(r.Unattributed, "", "  without a click, and there is one")
	some(r.Misled, "", "  with a click, and there is none in the window")
	some(r.Later, "", "  with a later click than the first")
	some(r.Earlier, "", "  with an earlier click than the first in the window")
	some(r.Mistimed, "", "  the right click_id at another click_time")
	some(r.Pending, "pending", "too fresh to be judged (--grace)")
	some(r.Unverifiable, "unverifiable", "rows that need records that Kafka no longer holds")
	some(r.Outside, "outside", "left out by --since and --until")
	for _, reason := range sortedKeys(r.Invalid) {
		line(r.Invalid[reason], "no event", "records that nobody can have made rows of: "+reason)
	}
	fmt.Fprintf(&b, "\nexpected  %s\nactual    %s\n", r.ExpectedDigest, r.ActualDigest)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	writeExamples(&b, r.Examples)
	if r.OK() {
		b.WriteString("\nEverything as it should be.\n")
	} else {
		b.WriteString("\nNOT as it should be.\n")
	}
	return b.WriteTo(w)
}
