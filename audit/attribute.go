package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
)

// ask is a checkout that waits for its click to be judged, in its sort: by user, product and time.
type ask struct {
	user    int32
	product string
	time    int64
	id      string

	partition int32
	offset    int64
	flags     int32
	click     winner // of the row
}

// winner is a click as far as a row knows it. The zero value is "none".
type winner struct {
	id   string
	time int64
	ok   bool
}

func (w winner) String() string {
	return describeClick(optional{text: w.id, valid: w.ok}, w.time, w.ok)
}

// compare orders by time and id; none is the greatest: any click is better.
func (w winner) compare(o winner) int {
	switch {
	case w.ok && o.ok:
		return cmp.Or(cmp.Compare(w.time, o.time), cmp.Compare(w.id, o.id))
	case w.ok:
		return -1
	case o.ok:
		return 1
	default:
		return 0
	}
}

func (q ask) append(b []byte) []byte {
	b = appendText(appendInt64(appendText(appendInt32(b, q.user), q.product), q.time), q.id)
	b = appendInt32(appendInt64(appendInt32(b, q.partition), q.offset), q.flags)
	return q.click.append(b)
}

func (w winner) append(b []byte) []byte {
	if !w.ok {
		return append(b, 0)
	}
	return appendInt64(appendText(append(b, 1), w.id), w.time)
}

func (f *fields) winner() (w winner) {
	if f.byte() == 1 {
		w.ok, w.id, w.time = true, f.text(), f.int64()
	}
	return w
}

func parseAsk(item []byte) (q ask) {
	f := fields(item)
	q.user, q.product, q.time, q.id = f.int32(), f.text(), f.int64(), f.text()
	q.partition, q.offset, q.flags = f.int32(), f.int64(), f.int32()
	q.click = f.winner()
	return q
}

// ask sorts a checkout for attribute. Without a row it is one that is missing.
func (a *audit) ask(k checkout, row *tableRow, flags int32) error {
	q := ask{user: k.user, product: k.product, time: k.time, id: k.id, partition: k.partition, offset: k.offset, flags: k.flags | flags}
	if row != nil {
		q.flags |= flagRow
		q.click = winner{id: row.click.text, time: row.clickTime, ok: row.click.valid}
		if row.click.valid != row.clickTimed {
			q.flags |= flagRowInvalid
		}
	}
	return a.askSort.Add(q.append(nil))
}

// best follows the sorted clicks as the asks go through the same order, and knows the best click of each.
type best struct {
	*stream[click]
	without int32 // clicks with one of these flags are left out
}

// of gives the best click for the checkout: the first one at or after the window's beginning, if it is in the window.
// Checkouts must come by user, product and time: what is passed over here is too early for all that follow.
func (b *best) of(q ask, window int64) (winner, error) {
	from := q.time - window
	for b.ok && (b.head.flags&b.without != 0 || before(b.head, q, from)) {
		if err := b.next(); err != nil {
			return winner{}, err
		}
	}
	if !b.ok || b.head.user != q.user || b.head.product != q.product || b.head.time > q.time {
		return winner{}, nil
	}
	return winner{id: b.head.id, time: b.head.time, ok: true}, nil
}

func before(c click, q ask, from int64) bool {
	return cmp.Or(cmp.Compare(c.user, q.user), cmp.Compare(c.product, q.product), cmp.Compare(c.time, from)) < 0
}

// attribute walks through checkouts and clicks by user, product and time.
//
// A row's click is right when it is the best of all clicks that are not below the group's start. Clicks that the checkout's shard has not
// read, and those that came too late for a row that was final, may or may not have had their effect. So a row may also have another
// click, if that is not worse than the best without them; it must then be a click that exists.
func (a *audit) attribute(ctx context.Context) error {
	a.progress.phase("clicks of rows compared", a.askSort.count)
	asks, err := newStream(a.askSort, parseAsk)
	if err != nil {
		return err
	}
	defer asks.Close()
	clicks, err := newStream(a.clickSort, parseClick)
	if err != nil {
		return err
	}
	defer clicks.Close()
	near := &nearby{clicks: clicks, window: a.snap.window.Microseconds(), column: a.snap.columns["click_time"]}
	var last *finding
	for ; asks.ok; err = asks.next() {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if err := near.moveTo(asks.head); err != nil {
			return err
		}
		a.progress.add(1)
		d := a.doubt(asks.head, near)
		if d.flags&flagRefused != 0 && d.flags&flagRow == 0 {
			if err := a.refusedBests.Add(d.refusedBest().append(nil)); err != nil {
				return err
			}
			continue
		}
		f := a.find(d)
		if f.kind == KindRefusedClick || a.fixes != nil && (f.kind == KindExplained || f.doubt.repairable) {
			f.doubt.better = near.better(d.click, a.snap.shards[d.partition])
		}
		switch {
		case last == nil:
		case !last.doubt.sameRow(d): // all of a row's records with one user come one after the other
			if err := a.conclude(last.doubt, last.kind); err != nil {
				return err
			}
		case leniency(f.kind) <= leniency(last.kind): // the row must do for each of them
			continue
		}
		last = f
	}
	if err != nil {
		return err
	}
	if last != nil {
		if err := a.conclude(last.doubt, last.kind); err != nil {
			return err
		}
	}
	if err := a.concludeSeveral(); err != nil {
		return err
	}
	return errors.Join(a.askSort.Drop(), a.clickSort.Drop())
}

// doubt is an ask with its answers. Each is the best of the clicks above the group's start: of all; of those that the checkout's shard has
// read; of those that are also not rightly noted as too late; of those that are not noted at all.
type doubt struct {
	ask
	best, settled, sure, unnoted winner
	real                         winner // the row's click as it was clicked, where there is such a click

	better     []near // the first clicks that are better than the row's, where Postgres may refuse some
	repairable bool   // a note that explains nothing is there for the repair all the same
	why        string // it cannot be verified
	doubtful   bool   // likewise
}

// sameRow says whether both are about one row, and of one user.
func (d doubt) sameRow(o doubt) bool {
	return d.id == o.id && d.user == o.user && d.product == o.product && d.time == o.time
}

// doubt asks the clicks that are near the checkout. Once a row is final a click that comes too late
// is noted, and one that is noted is no excuse for a row that still moves, unless it was dated far
// ahead: a restart may have forgotten it.
func (a *audit) doubt(q ask, near *nearby) doubt {
	shard := a.snap.shards[q.partition]
	final := q.time < shard.finalBefore
	d := doubt{ask: q}
	d.best, d.real = near.least(rule{}, shard), near.find(q.click)
	if q.flags&flagPending != 0 {
		return d // the shard has not read the checkout: nothing is demanded of the row
	}
	d.settled = near.least(rule{read: true, shard: q.partition}, shard)
	d.sure, d.unnoted = d.settled, d.settled
	switch {
	case final:
		d.sure = near.least(rule{read: true, shard: q.partition, without: flagLate}, shard)
	case near.noted:
		d.sure = near.least(rule{read: true, shard: q.partition, without: flagAhead}, shard)
	}
	if near.noted {
		d.unnoted = near.least(rule{read: true, shard: q.partition, without: flagLate | flagEarly}, shard)
	}
	return d
}

// judge says what a row's click is; "" is that it is right. real is false where that stands and falls with whether the click ever was: no record
// that is there holds it, and it is better than what is there.
func (d *doubt) judge(window int64, column column) (kind Kind, real bool) {
	stored := column.storedTime
	inWindow := d.click.ok && d.click.time <= stored(d.time) && d.click.time >= stored(d.time-window)
	click := d.click
	if d.real.ok {
		click = d.real
	}
	late := d.flags&flagLate != 0
	switch {
	case d.flags&flagRowInvalid != 0, click.ok && !inWindow:
		return KindDifferent, true
	case click == d.best, d.real.ok && click.compare(d.best) < 0: // a click below the group's start: another job's row has it
		return "", true
	case click.ok && !d.real.ok:
		return KindDifferent, !late && click.compare(d.sure) > 0
	case d.flags&flagPending != 0, click.compare(d.settled) <= 0:
		return KindPending, true
	case late && d.flags&flagEarly == 0, click.compare(d.sure) <= 0:
		return KindExplained, true
	default:
		return KindDifferent, true
	}
}

// find judges the row of a checkout, or that there is none.
func (a *audit) find(d doubt) *finding {
	switch {
	case d.flags&flagRow == 0:
		return &finding{d, KindMissing}
	case d.flags&flagJudged != 0:
		return &finding{d, ""}
	}
	column := a.snap.columns["click_time"]
	kind, real := d.judge(a.snap.window.Microseconds(), column)
	switch {
	case !real: // it may be among what Kafka has lost
		var ok bool
		if d.why, d.doubtful, ok = a.lost[topicClicks].admits(d.click.time - column.unit()/2); ok {
			kind = KindUnverifiable
		}
		d.repairable = d.click.compare(d.settled) > 0 // whether or not the row's click was ever there, the late one is better
	case kind == KindDifferent && d.flags&flagRowInvalid == 0 && d.click.compare(d.best) > 0 && (d.flags&flagLate != 0 || d.click.compare(d.unnoted) <= 0):
		d.repairable = true
		d.why = "firstclick.late has the event, which did not come too late: `firstclick repair` mends the row"
	}
	if kind == KindDifferent && d.flags&flagRefusedClick != 0 && d.flags&flagRowInvalid == 0 && d.click.ok == d.real.ok && d.click.compare(d.best) > 0 {
		kind = KindRefusedClick // if it is true: see checkRefusedClicks
	}
	return &finding{d, kind}
}

// claimClick keeps which click of those that are lost the row has: rows may share one.
func (a *audit) claimClick(d doubt) error {
	b := appendInt64(nil, d.click.time-a.snap.columns["click_time"].unit()/2)
	return a.claimSort.Add(appendText(appendText(appendInt32(b, d.user), d.product), d.click.id))
}

// settleClaims finds out whether more is said to be among what Kafka has lost than can be.
func (a *audit) settleClaims(context.Context) error {
	if err := a.claimSort.Finish(); err != nil {
		return err
	}
	claims, err := a.claimSort.Open()
	if err != nil {
		return err
	}
	defer claims.Close()
	var last []byte
	for {
		item, ok, err := claims.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if last != nil && bytes.Equal(item, last) {
			continue
		}
		last = append(last[:0], item...)
		f := fields(item)
		a.lost[topicClicks].claim(f.int64())
	}
	for _, t := range []struct {
		which int
		kind  Kind
		what  string
	}{{topicCheckouts, KindExtra, "rows without a record"}, {topicClicks, KindDifferent, "clicks of rows without a record"}} {
		more, claims := a.lost[t.which].excess()
		if more <= 0 {
			continue
		}
		*a.report.counter(t.kind) += more
		a.report.Unverifiable = max(0, a.report.Unverifiable-more)
		a.note("%s %s are not in Kafka any more, and what Kafka has lost is %s records fewer than that: at least so many are wrong",
			grouped(claims), t.what, grouped(more))
	}
	return nil
}

// unverifiable counts such a row's doubts; the row itself is counted with its example.
func (a *audit) unverifiable(doubtful bool) {
	if doubtful {
		a.report.Doubtful++
	}
}

// finding is what is to be said of a checkout's row; "" is nothing.
type finding struct {
	doubt doubt
	kind  Kind
}

// leniency orders kinds: a row that several users' records may have written is right if it is right for any of these users.
func leniency(k Kind) int {
	switch k {
	case "":
		return 0
	case KindPending:
		return 1
	case KindExplained, KindRefusedClick:
		return 2
	case KindUnverifiable:
		return 3
	default:
		return 4
	}
}

// conclude counts what was found about a row's click; kind "" is nothing.
func (a *audit) conclude(d doubt, kind Kind) error {
	if d.flags&flagSeveral != 0 {
		if o := a.several[d.id]; o == nil || leniency(kind) < leniency(o.kind) {
			a.several[d.id] = &finding{d, kind}
		}
		return nil
	}
	if kind == KindRefusedClick {
		return a.laterClicks.Add(d.laterClick(a.snap.shards[d.partition]).append(nil))
	}
	want := d.best
	if kind == KindUnverifiable || kind == "" && d.real.ok && d.real.compare(d.best) < 0 {
		want = d.click
	}
	stored := a.snap.columns["click_time"].storedTime(want.time)
	a.expected.add(d.id, want.id, stored, want.ok)
	if d.flags&flagRow != 0 && d.flags&flagPending == 0 && kind != KindUnverifiable && kind != KindPending {
		a.report.Judged++
	}
	if kind == "" {
		return nil
	}
	actual := d.click.String()
	switch {
	case kind == KindMissing:
		actual = "no row"
	case d.flags&flagRowInvalid != 0:
		actual = "click_id and click_time are not both set or both NULL"
	}
	k := checkout{partition: d.partition, offset: d.offset}
	k.id = d.id
	expected := fmt.Sprintf("%s, user %d, product %s, checkout_time %s", want, d.user, quote(d.product), formatTime(d.time))
	switch {
	case kind == KindUnverifiable:
		expected = fmt.Sprintf("%s, or an earlier one: %s", d.best, d.why)
		a.unverifiable(d.doubtful)
		if err := a.claimClick(d); err != nil {
			return err
		}
	case d.why != "":
		expected += "; " + d.why
	}
	a.addExample(kind, k, expected, actual)
	if (kind == KindExplained || d.repairable) && a.fixes != nil {
		return a.fixes.Add(d.fix(d.best).append(nil))
	}
	return nil
}

func (a *audit) concludeSeveral() error {
	for _, o := range a.several {
		o.doubt.flags &^= flagSeveral
		if err := a.conclude(o.doubt, o.kind); err != nil {
			return err
		}
	}
	return nil
}
