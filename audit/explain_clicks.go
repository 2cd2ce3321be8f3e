package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"firstclick/internal/pgsession"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	clicksShown  = 100              // in the window
	outsideShown = 3                // on each side of it
	outside      = 15 * time.Minute // how far before the window is looked
	unreadLooked = 500_000          // of the clicks that firstclick has not read
)

// foundClick is a click of the checkout's user on its product.
type foundClick struct {
	click
	stamp  int64  // the record's timestamp in microseconds; -1: none, or not known any more
	reason string // why it is a dead letter; "": it is none
}

func (c foundClick) compare(o foundClick) int {
	return cmp.Or(cmp.Compare(c.time, o.time), cmp.Compare(c.id, o.id), cmp.Compare(c.partition, o.partition), cmp.Compare(c.offset, o.offset))
}

func (c foundClick) winner() winner { return winner{id: c.id, time: c.time, ok: true} }

// picker keeps those clicks that are shown, and the answers over all of them, in bounded memory.
type picker struct {
	span     JoinSpan
	from, to int64
	row      winner // the row's click

	before, inside, after []foundClick
	dropped               int64 // of those inside
	best, settled, sure   winner
	final                 bool   // the row is, so that a click that is noted as too late need not be the row's
	column                column // of the rows' click times
	real                  winner // the row's click as it was clicked, if it is among the clicks
	rowStamp              int64  // of its first record
	untimed               bool   // some record has no timestamp
}

func (p *picker) add(c foundClick) {
	switch {
	case c.time < p.from:
		p.before = keepFirst(append(p.before, c), outsideShown, func(a, b foundClick) int { return b.compare(a) })
	case c.time > p.to:
		p.after = keepFirst(append(p.after, c), outsideShown, foundClick.compare)
	default:
		p.candidate(c)
	}
}

// keepFirst sorts, leaves out what is there twice, and keeps the first n.
func keepFirst(list []foundClick, n int, compare func(a, b foundClick) int) []foundClick {
	slices.SortFunc(list, compare)
	list = slices.CompactFunc(list, func(a, b foundClick) bool { return a.partition == b.partition && a.offset == b.offset })
	return list[:min(n, len(list))]
}

func (p *picker) candidate(c foundClick) {
	if c.reason == "" {
		w := c.winner()
		if c.flags&flagBefore == 0 {
			p.best = least(p.best, w)
		}
		if c.flags&(flagPending|flagBefore) == 0 {
			p.settled = least(p.settled, w)
			if c.flags&flagLate == 0 || c.flags&flagEarly != 0 || !p.final && c.flags&flagAhead == 0 {
				p.sure = least(p.sure, w)
			}
		}
		if p.row.ok && w.id == p.row.id && p.column.storedTime(w.time) == p.row.time {
			if !p.real.ok || c.stamp >= 0 && (p.rowStamp < 0 || c.stamp < p.rowStamp) {
				p.rowStamp = c.stamp
			}
			p.real = w
		}
	}
	p.inside = append(p.inside, c)
	if len(p.inside) >= 4*clicksShown {
		p.trim()
	}
}

func least(a, b winner) winner {
	if b.compare(a) < 0 {
		return b
	}
	return a
}

// trim keeps the first clicks, and that of the row.
func (p *picker) trim() {
	all := keepFirst(p.inside, len(p.inside), foundClick.compare)
	shown := all[:min(clicksShown, len(all))]
	for _, c := range all[len(shown):] {
		if c.winner() == p.row && len(shown) == clicksShown {
			shown = append(shown, c)
		} else {
			p.dropped++
		}
	}
	p.inside = shown
}

// findClicks reads clicks until the verdict stands: first where the records' timestamps say that the clicks must be, then all.
func (x *explainer) findClicks(ctx context.Context, join JoinSpan) error {
	join.Window = x.snap.window
	join.From = join.To.Add(-join.Window)
	x.out.Join = &join
	p := &picker{span: join, from: join.From.UnixMicro(), to: join.To.UnixMicro(), column: x.snap.columns["click_time"]}
	if x.source != nil {
		p.final = p.to < x.snap.shards[x.source.partition].finalBefore
	}
	if x.there && x.row.click.valid && x.row.clickTimed {
		p.row = winner{id: x.row.click.text, time: x.row.clickTime, ok: true}
	}
	x.picked = p
	if err := x.lateClicks(ctx); err != nil {
		return err
	}
	t, starts := x.clicks, x.snap.clicksStart
	from, err := x.cutAt(ctx, t, p.from-outside.Microseconds()-x.snap.skew)
	if err != nil {
		return err
	}
	to, err := x.cutAt(ctx, t, p.to+x.stampedBy())
	if err != nil {
		return err
	}
	for _, l := range t.partitions {
		if began := startOf(starts, l.partition); l.logStart > began && from[l.partition] <= l.logStart {
			x.gone[topicClicks] = true
			x.note("%s-%d: Kafka holds what is at offset %d and later: clicks of this window may be gone", t.name, l.partition, l.logStart)
		}
	}
	// Also below the group's start: another job's row may have a click from there.
	near := append(x.spans(t, nil, from, to), x.unread(x.spans(t, nil, to, nil))...)
	for i, part := range [][]span{near, x.spans(t, nil, to, nil), x.spans(t, nil, nil, from)} {
		if i > 0 && !x.unsettled(i) {
			break
		}
		if err := x.scanClicks(ctx, part); err != nil {
			return err
		}
		x.out.Verdict = x.judge()
	}
	return nil
}

// unread are those parts of spans that firstclick has not read so far: what is in there has still to have its effect, whenever
// it was stamped. None, if that is too much to look through for one checkout.
func (x *explainer) unread(spans []span) []span {
	var total int64
	shards := x.snap.shards
	if x.source != nil {
		shards = map[int32]position{x.source.partition: x.snap.shards[x.source.partition]}
	}
	for i, s := range spans {
		next := s.to
		for _, of := range shards {
			if int(s.partition) >= len(of.clicks) {
				next = 0
				break
			}
			next = min(next, of.clicks[s.partition])
		}
		spans[i].from = max(s.from, next)
		total += max(0, s.to-spans[i].from)
	}
	if total > unreadLooked {
		x.note("firstclick is %s clicks behind; that one of them is earlier than those listed is not excluded", grouped(total))
		return nil
	}
	return slices.DeleteFunc(spans, func(s span) bool { return s.from >= s.to })
}

// unsettled says whether the given part of the topic has to be read too: what follows the first record that is stamped later than
// what counts as late (1), or what comes before all that is stamped in the window, for the sake of records without a timestamp (2).
//
// Where the first part ends is a guess: timestamps need not be in order. A row that is right by what was read stays right; whatever else
// was found is worth looking on.
func (x *explainer) unsettled(part int) bool {
	verdict := x.out.Verdict
	if part == 1 {
		backlog := x.source != nil && (x.source.stamp < 0 || x.source.stamp > x.source.time+x.stampedBy()) // older than their records
		return backlog || x.there && verdict != VerdictRight
	}
	return verdict == VerdictWrong || verdict == VerdictUnverifiable || x.picked.untimed
}

func (x *explainer) scanClicks(ctx context.Context, spans []span) error {
	p := x.picked
	product := []byte(p.span.ProductID)
	late := map[spot]int32{}
	for _, l := range x.late {
		if l.which == topicClicks {
			late[spot{l.which, l.Partition, l.Offset}] = x.lateFlags(l)
		}
	}
	keep := func(r *kgo.Record) bool { return mayHold(r.Value, product) }
	return x.scan(ctx, x.clicks, topicClicks, spans, keep, func(r *kgo.Record) {
		c := foundClick{click: click{partition: r.Partition, offset: r.Offset}, stamp: stampOf(r)}
		if c.event, c.reason = x.snap.click(r.Value, x.snap.zone); c.reason != "" || c.user != p.span.UserID || c.product != p.span.ProductID {
			return
		}
		p.untimed = p.untimed || c.stamp < 0
		if c.stamp >= 0 && c.time > c.stamp+x.snap.skew {
			c.reason = reasonFuture
		}
		if x.pendingClick(r.Partition, r.Offset) {
			c.flags |= flagPending
		}
		c.flags |= late[spot{topicClicks, r.Partition, r.Offset}]
		if r.Offset < startOf(x.snap.clicksStart, r.Partition) {
			c.flags |= flagBefore
		}
		p.add(c)
	})
}

// unrepaired says whether the event need not have had its effect in the snapshot.
func (x *explainer) unrepaired(l lateRow) bool {
	return l.RepairedAt == nil || l.RepairedAt.After(x.at.taken)
}

// lateFlags are those of an event that is noted as late.
func (x *explainer) lateFlags(l lateRow) int32 {
	if !x.unrepaired(l) {
		return 0
	}
	return noteFlags(x.snap.early(l.Time, l.RecordedAt))
}

// lateClicks reads which of the clicks are noted in firstclick.late. Those that Kafka has dropped since count all the same.
func (x *explainer) lateClicks(ctx context.Context) error {
	conn, err := pgsession.Connect(ctx, x.cfg.Database, application)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	p := x.picked
	x.late = slices.DeleteFunc(x.late, func(l lateRow) bool { return l.which == topicClicks }) // of another user, tried before
	err = x.readLate(ctx, conn, `kind = 'click' AND user_id = $4 AND product_id = $5 AND event_time BETWEEN $6 AND $7`,
		p.span.UserID, p.span.ProductID, p.span.From, p.span.To)
	if err != nil {
		return err
	}
	var held []spot
	for _, l := range x.late {
		if l.which != topicClicks {
			continue
		}
		place := spot{topicClicks, l.Partition, l.Offset}
		if len(x.clicks.at([]spot{place})) > 0 {
			held = append(held, place)
			continue
		}
		c := foundClick{click: click{partition: l.Partition, offset: l.Offset}, stamp: -1}
		c.id, c.user, c.product, c.time = l.EventID, l.UserID, l.ProductID, l.Time.UnixMicro()
		c.flags |= x.lateFlags(l)
		p.add(c)
	}
	return x.scanClicks(ctx, x.clicks.at(held))
}

// userOfClick finds the row's click in Kafka, for the sake of its user.
func (x *explainer) userOfClick(ctx context.Context) (user int32, ok bool, err error) {
	if !x.row.click.valid || !x.row.clickTimed {
		return 0, false, nil
	}
	id := []byte(x.row.click.text)
	from, err := x.cutAt(ctx, x.clicks, x.row.clickTime-x.snap.skew)
	if err != nil {
		return 0, false, err
	}
	for _, part := range [][]span{x.spans(x.clicks, nil, from, nil), x.spans(x.clicks, nil, nil, from)} {
		keep := func(r *kgo.Record) bool { return mayHold(r.Value, id) }
		err := x.scan(ctx, x.clicks, topicClicks, part, keep, func(r *kgo.Record) {
			c, reason := x.snap.click(r.Value, x.snap.zone)
			if reason == "" && c.id == x.row.click.text && c.product == x.row.own[0].text && c.time == x.row.clickTime {
				user, ok = c.user, true
			}
		})
		if err != nil || ok {
			return user, ok, err
		}
	}
	return 0, false, nil
}

// judge compares the row with the answer recomputed: the rules are those of verify's decide.
func (x *explainer) judge() Verdict {
	p := x.picked
	if !x.there {
		if x.source.flags&flagPending != 0 {
			return VerdictPending
		}
		return VerdictMissing
	}
	if x.source != nil {
		if name, _, _ := x.row.differing(x.snap.columns, x.source.event); name != "" {
			if x.source.flags&flagPending != 0 && x.gone[topicCheckouts] {
				return VerdictUnverifiable // the record that it was made of may be among those that are gone
			}
			return VerdictWrong
		}
	}
	d := doubt{ask: ask{click: p.row, time: p.to, flags: flagRow}, best: p.best, settled: p.settled, sure: p.sure, real: p.real}
	if x.row.click.valid != x.row.clickTimed {
		d.flags |= flagRowInvalid
	}
	if x.source != nil && x.source.flags&flagPending != 0 { // nothing is demanded of the row
		d.flags |= flagPending
		d.settled, d.sure = winner{}, winner{}
	}
	for _, l := range x.late {
		if l.which == topicCheckouts {
			d.flags |= x.lateFlags(l)
		}
	}
	switch kind, real := d.judge(x.snap.window.Microseconds(), p.column); {
	case kind == "":
		return VerdictRight
	case kind == KindPending:
		return VerdictPending
	case kind == KindExplained:
		return VerdictLate
	case !real && x.gone[topicClicks]:
		return VerdictUnverifiable
	case x.source != nil && x.source.flags&flagRefusedClick != 0 && d.click.ok == d.real.ok && d.click.compare(d.best) > 0:
		return VerdictRefusedClick
	default:
		return VerdictWrong
	}
}
