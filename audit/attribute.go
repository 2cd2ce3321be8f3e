package audit

import (
	"cmp"
	"context"
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
// A row's click is right when it is the best of all clicks. Late and pending clicks may or may not have had their effect, so a
// row may also have another click, if that is not worse than the best without them; it must then be a click that exists.
func (a *audit) attribute(ctx context.Context) error {
	a.progress.phase("clicks of rows compared", a.askSort.count)
	asks, err := newStream(a.askSort, parseAsk)
	if err != nil {
		return err
	}
	defer asks.Close()
	bests := [...]*best{{}, {without: flagPending}, {without: flagPending | flagLate}}
	defer func() {
		for _, b := range bests {
			if b.stream != nil {
				b.Close()
			}
		}
	}()
	for _, b := range bests {
		if b.stream, err = newStream(a.clickSort, parseClick); err != nil {
			return err
		}
	}
	window := a.snap.window.Microseconds()
	for asks.ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := doubt{ask: asks.head}
		for i, into := range []*winner{&d.best, &d.settled, &d.sure} {
			if *into, err = bests[i].of(d.ask, window); err != nil {
				return err
			}
		}
		if err := a.decide(d); err != nil {
			return err
		}
		a.progress.add(1)
		if err := asks.next(); err != nil {
			return err
		}
	}
	return a.askSort.Drop()
}

// doubt is an ask with its answers: the best of all clicks, of those that are not pending, and of those that are also not late.
type doubt struct {
	ask
	best, settled, sure winner
}

// doubtKey orders doubts like clicks, by the row's click.
func (d doubt) append(b []byte) []byte {
	b = appendText(appendInt64(appendText(appendInt32(b, d.user), d.product), d.click.time), d.click.id)
	return d.best.append(d.settled.append(d.sure.append(d.ask.append(b))))
}

func parseDoubt(item []byte) (d doubt) {
	f := fields(item)
	d.user, d.product, d.click.time, d.click.id = f.int32(), f.text(), f.int64(), f.text()
	d.user, d.product, d.time, d.id = f.int32(), f.text(), f.int64(), f.text()
	d.partition, d.offset, d.flags = f.int32(), f.int64(), f.int32()
	d.click = f.winner()
	d.sure, d.settled, d.best = f.winner(), f.winner(), f.winner()
	return d
}

// decide judges, or finds that it must first be known whether the row's click exists.
func (a *audit) decide(d doubt) error {
	click := d.click
	inWindow := click.ok && click.time <= d.time && click.time >= d.time-a.snap.window.Microseconds()
	switch {
	case d.flags&flagRefused != 0 && d.flags&flagRow == 0:
		return a.refusedBests.Add(d.refusedBest().append(nil))
	case d.flags&flagRow == 0:
		return a.conclude(d, KindMissing)
	case d.flags&flagJudged != 0:
		return a.conclude(d, "")
	case d.flags&flagRowInvalid != 0, click.ok && !inWindow:
		return a.conclude(d, KindDifferent)
	case click == d.best:
		return a.conclude(d, "")
	case !click.ok && d.flags&flagLate != 0:
		return a.conclude(d, KindExplained)
	case d.flags&flagLate == 0 && click.compare(d.sure) > 0:
		return a.conclude(d, KindDifferent)
	case !click.ok, click == d.settled, click == d.sure:
		return a.conclude(d, d.excuse())
	default:
		return a.doubtSort.Add(d.append(nil))
	}
}

// excuse says why a click that exists, and is not the best, is the row's.
func (d doubt) excuse() Kind {
	if d.click.compare(d.settled) <= 0 {
		return KindPending // late clicks or not, all that stands between is pending
	}
	return KindExplained
}

// settleDoubts finds out which of the rows' clicks exist.
func (a *audit) settleDoubts(ctx context.Context) error {
	if err := a.doubtSort.Finish(); err != nil {
		return err
	}
	doubts, err := newStream(a.doubtSort, parseDoubt)
	if err != nil {
		return err
	}
	defer doubts.Close()
	clicks, err := newStream(a.clickSort, parseClick)
	if err != nil {
		return err
	}
	defer clicks.Close()
	for ; doubts.ok; err = doubts.next() {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		d := doubts.head
		order := 1
		for clicks.ok {
			c := clicks.head
			order = cmp.Or(cmp.Compare(c.user, d.user), cmp.Compare(c.product, d.product), cmp.Compare(c.time, d.click.time), cmp.Compare(c.id, d.click.id))
			if order >= 0 {
				break
			}
			if err := clicks.next(); err != nil {
				return err
			}
		}
		kind := KindDifferent
		switch {
		case clicks.ok && order == 0:
			kind = d.excuse()
		case a.gone[topicClicks]: // also where a click that came too late would have been better: what the row has may be among those gone
			kind = KindUnverifiable
		}
		if err := a.conclude(d, kind); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if err := a.concludeSeveral(); err != nil {
		return err
	}
	return a.clickSort.Drop()
}

// outcome is the best that can be said about a row that several records may have written.
type outcome struct {
	doubt doubt
	kind  Kind
}

// leniency orders kinds: the row is right if it is right for any record that may have written it.
func leniency(k Kind) int {
	switch k {
	case "":
		return 0
	case KindPending:
		return 1
	case KindExplained:
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
			a.several[d.id] = &outcome{doubt: d, kind: kind}
		}
		return nil
	}
	want := d.best
	if kind == KindUnverifiable {
		want = d.click
	}
	a.expected.add(d.id, want.id, want.time, want.ok)
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
	a.addExample(kind, k, fmt.Sprintf("%s, user %d, product %s, checkout_time %s", want, d.user, quote(d.product), formatTime(d.time)), actual)
	// Whether or not a row's own click was ever there, the late one is better.
	if late := kind == KindExplained || kind == KindUnverifiable && d.flags&flagRow != 0 && d.excuse() == KindExplained; late && a.fixes != nil {
		return a.fixes.Add(fix{id: d.id, from: d.click, to: d.best}.append(nil))
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
