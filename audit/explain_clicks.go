package audit

import (
	"cmp"
	"context"
	"slices"
	"time"

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
	near
	stamp  int64  // the record's timestamp in microseconds; -1: none, or not known any more
	reason string // why it is a dead letter; "": it is none
}

func (c foundClick) compare(o foundClick) int {
	return cmp.Or(cmp.Compare(c.time, o.time), cmp.Compare(c.id, o.id), cmp.Compare(c.partition, o.partition), cmp.Compare(c.offset, o.offset))
}

// picker keeps those clicks that are shown, and the answers over all of them, in bounded memory.
type picker struct {
	join     JoinSpan
	from, to int64
	k        item // the checkout, with the row's click
	shard    shard
	column   column // of the rows' click times
	answers

	before, inside, after []foundClick
	dropped               int64 // of those inside
	rowStamp              int64 // of the first record of the row's click
	untimed               bool  // some record has no timestamp
}

func (p *picker) add(c foundClick) {
	switch {
	case c.time < p.from:
		p.before = keepFirst(append(p.before, c), outsideShown, func(a, b foundClick) int { return b.compare(a) })
		return
	case c.time > p.to:
		p.after = keepFirst(append(p.after, c), outsideShown, foundClick.compare)
		return
	case c.reason == "":
		first := func(into *click, r rule) {
			if r.admits(c.near, p.shard) && c.click().compare(*into) < 0 {
				*into = c.click()
			}
		}
		first(&p.best, rule{})
		if p.k.flags&flagPending == 0 {
			read, onTime, _ := rules(&p.k, p.shard)
			first(&p.read, read)
			first(&p.onTime, onTime)
		}
		if row := p.k.click; row.ok() && c.id == row.id && p.column.storedTime(c.time) == row.time {
			if !p.real.ok() || c.stamp >= 0 && (p.rowStamp < 0 || c.stamp < p.rowStamp) {
				p.rowStamp = c.stamp
			}
			p.real = c.click()
		}
	}
	if p.inside = append(p.inside, c); len(p.inside) >= 4*clicksShown {
		p.trim()
	}
}

// keepFirst sorts, leaves out what is there twice, and keeps the first n.
func keepFirst(list []foundClick, n int, compare func(a, b foundClick) int) []foundClick {
	slices.SortFunc(list, compare)
	list = slices.CompactFunc(list, func(a, b foundClick) bool { return a.partition == b.partition && a.offset == b.offset })
	return list[:min(n, len(list))]
}

// trim keeps the first clicks, and that of the row.
func (p *picker) trim() {
	all := keepFirst(p.inside, len(p.inside), foundClick.compare)
	shown := all[:min(clicksShown, len(all))]
	for _, c := range all[len(shown):] {
		if c.click() == p.k.click && len(shown) == clicksShown {
			shown = append(shown, c)
		} else {
			p.dropped++
		}
	}
	p.inside = shown
}

// findClicks reads clicks until the verdict stands: first where the records' timestamps say that the
// clicks must be, then all.
func (x *explainer) findClicks(ctx context.Context, join JoinSpan) error {
	join.Window = x.snap.window
	join.From = join.To.Add(-join.Window)
	x.out.Join = &join
	p := &picker{join: join, from: join.From.UnixMicro(), to: join.To.UnixMicro(), column: x.snap.columns["click_time"]}
	// Where the checkout's shard is not known, the one furthest behind decides what is read.
	p.shard = shard{clicks: x.snap.clicksLeast, finalBefore: noTime}
	if x.source != nil {
		p.k = x.source.item
		p.shard = x.snap.shards[p.k.partition]
	}
	p.k.time = p.to
	if x.row != nil {
		p.k.flags |= flagRow
		p.k.click = x.row.click
	}
	x.late = slices.DeleteFunc(x.late, func(l lateRow) bool { return l.topic == topicClicks }) // of another user, tried before
	for _, l := range x.late {
		p.k.flags |= l.flags
	}
	x.picked = p
	if err := x.lateClicks(ctx); err != nil {
		return err
	}
	t, starts := topicClicks, x.snap.topics[topicClicks]
	from, err := x.cutAt(ctx, t, p.from-outside.Microseconds()-x.snap.skew)
	if err != nil {
		return err
	}
	to, err := x.cutAt(ctx, t, p.to+x.stampedBy())
	if err != nil {
		return err
	}
	for _, l := range x.logs[t].partitions {
		if l.logStart > starts.start(l.partition) && from[l.partition] <= l.logStart {
			x.gone[t] = true
			x.note("%s-%d: Kafka holds what is at offset %d and later: clicks of this window may be gone",
				x.logs[t].name, l.partition, l.logStart)
		}
	}
	// Also below the group's start: another job's row may have a click from there.
	all := storedTopic{}
	near := append(x.spans(t, all, from, to), x.unread(x.spans(t, all, to, nil))...)
	for i, part := range [][]span{near, x.spans(t, all, to, nil), x.spans(t, all, nil, from)} {
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

// unread are those parts of spans that firstclick has not read so far: what is in there has still to
// have its effect, whenever it was stamped. None, if that is too much to look through for one checkout.
func (x *explainer) unread(spans []span) []span {
	if x.source == nil && len(x.snap.shards) == 0 {
		return nil
	}
	var total int64
	for i, s := range spans {
		next := int64(0)
		if read := x.picked.shard.clicks; int(s.partition) < len(read) {
			next = read[s.partition]
		}
		spans[i].from = min(max(s.from, next), s.to)
		total += s.to - spans[i].from
	}
	if total > unreadLooked {
		x.note("firstclick is %s clicks behind; that one of them is earlier than those listed is not excluded", grouped(total))
		return nil
	}
	return slices.DeleteFunc(spans, func(s span) bool { return s.from >= s.to })
}

// unsettled says whether the given part of the topic has to be read too: what follows the first record
// that is stamped later than what counts as late (1), or what comes before all that is stamped in the
// window, for the sake of records without a timestamp (2).
//
// Where the first part ends is a guess: timestamps need not be in order. A row that is right by what was
// read stays right; otherwise it is worth looking on.
func (x *explainer) unsettled(part int) bool {
	verdict := x.out.Verdict
	if part == 1 {
		// Events that are older than their records came from a backlog.
		backlog := x.source != nil && (x.source.stamp < 0 || x.source.stamp > x.source.time+x.stampedBy())
		return backlog || x.row != nil && verdict != VerdictRight
	}
	return verdict == VerdictWrong || verdict == VerdictUnverifiable || x.picked.untimed
}

func (x *explainer) scanClicks(ctx context.Context, spans []span) error {
	p := x.picked
	late := map[recordRef]int32{}
	for _, l := range x.late {
		late[recordRef{l.topic, l.Partition, l.Offset}] = l.flags
	}
	return x.scan(ctx, topicClicks, spans, p.join.ProductID, func(r *kgo.Record, stamp int64) {
		e, reason := x.decode(topicClicks, r)
		if reason != "" && reason != reasonFuture || e.user != p.join.UserID || e.product != p.join.ProductID {
			return
		}
		p.untimed = p.untimed || stamp < 0
		c := foundClick{near: near{e.time, e.id, r.Partition, r.Offset, late[recordRef{topicClicks, r.Partition, r.Offset}]},
			stamp: stamp, reason: reason}
		if !p.shard.hasRead(r.Partition, r.Offset) {
			c.flags |= flagPending
		}
		if r.Offset < x.snap.topics[topicClicks].start(r.Partition) {
			c.flags |= flagBefore
		}
		p.add(c)
	})
}

// lateClicks reads which of the clicks are noted in firstclick.late. Those that Kafka has deleted since
// count all the same.
func (x *explainer) lateClicks(ctx context.Context) error {
	j := &x.picked.join
	err := x.readLate(ctx, x.conn, `kind = 'click' AND user_id = $4 AND product_id = $5 AND event_time BETWEEN $6 AND $7`,
		j.UserID, j.ProductID, j.From, j.To)
	if err != nil {
		return err
	}
	var held []span
	for _, l := range x.late {
		if l.topic != topicClicks {
			continue
		}
		if at := x.at(topicClicks, []recordRef{{topicClicks, l.Partition, l.Offset}}); len(at) > 0 {
			held = append(held, at...)
			continue
		}
		x.picked.add(foundClick{near: near{l.Time.UnixMicro(), l.EventID, l.Partition, l.Offset, l.flags}, stamp: -1})
	}
	return x.scanClicks(ctx, held)
}

// userOfClick finds the row's click in Kafka, for the sake of its user.
func (x *explainer) userOfClick(ctx context.Context) (user int32, ok bool, err error) {
	row := x.row.click
	if row.set != whole {
		return 0, false, nil
	}
	from, err := x.cutAt(ctx, topicClicks, row.time-x.snap.skew)
	if err != nil {
		return 0, false, err
	}
	all := storedTopic{}
	for _, part := range [][]span{x.spans(topicClicks, all, from, nil), x.spans(topicClicks, all, nil, from)} {
		err := x.scan(ctx, topicClicks, part, row.id, func(r *kgo.Record, _ int64) {
			e, reason := x.decode(topicClicks, r)
			if (reason == "" || reason == reasonFuture) && e.id == row.id && e.product == x.row.productID().text && e.time == row.time {
				user, ok = e.user, true
			}
		})
		if err != nil || ok {
			return user, ok, err
		}
	}
	return 0, false, nil
}
