package audit

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	clicksShown  = 100              // in the window
	outsideShown = 3                // on each side of it
	outside      = 15 * time.Minute // how far before the window is looked
	unreadLooked = 500_000          // at most, of the clicks that firstclick has not read
)

// findClicks reads clicks until the verdict stands: first where the records' timestamps say that
// the clicks must be, then all.
func (x *explainer) findClicks(ctx context.Context, join JoinSpan) error {
	join.Window = x.snap.window
	join.From = join.To.Add(-join.Window)
	x.out.Join = &join
	p := &clickList{join: join, from: join.From.UnixMicro(), to: join.To.UnixMicro()}
	p.column = x.snap.columns["click_time"]
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
	// Late clicks are of another user, tried before.
	x.late = slices.DeleteFunc(x.late, func(l lateRow) bool { return l.topic == topicClicks })
	for _, l := range x.late {
		p.k.flags |= l.flags
	}
	x.picked = p
	if err := x.lateClicks(ctx); err != nil {
		return err
	}
	t, starts := topicClicks, x.snap.topics[topicClicks]
	from, to, err := x.offsetsAround(ctx, t, p.from-outside.Microseconds(), p.to)
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
		if i > 0 && !x.mustRead(i) {
			break
		}
		if err := x.scanClicks(ctx, part); err != nil {
			return err
		}
		x.out.Verdict = x.judge()
	}
	return nil
}

// unread are those parts of spans that firstclick has not read so far. What is in there may still
// have an effect, whenever it was stamped. nil: that is too much to look through for one checkout.
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
		x.note("firstclick is %s clicks behind; that one of them is earlier than those listed is not excluded",
			grouped(total))
		return nil
	}
	return slices.DeleteFunc(spans, func(s span) bool { return s.from >= s.to })
}

// mustRead says whether a further part of the topic has to be read: 1 is what is stamped later than
// what counts as late, 2 is what is stamped before the window, where records without a timestamp
// are.
//
// Where the first part ends is a guess, because timestamps need not be in order. A row that is
// right by what was read stays right. Otherwise more has to be read.
func (x *explainer) mustRead(part int) bool {
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
		flags := late[recordRef{topicClicks, r.Partition, r.Offset}]
		c := foundClick{heldClick{e.time, e.id, r.Partition, r.Offset, flags}, stamp, reason}
		if !p.shard.hasRead(r.Partition, r.Offset) {
			c.flags |= flagPending
		}
		if r.Offset < x.snap.topics[topicClicks].start(r.Partition) {
			c.flags |= flagBefore
		}
		p.add(c)
	})
}

// lateClicks reads which of the clicks are in firstclick.late. Those that Kafka has deleted since
// count, too.
func (x *explainer) lateClicks(ctx context.Context) error {
	j := &x.picked.join
	err := x.readLate(ctx, x.conn,
		`kind = 'click' AND user_id = $4 AND product_id = $5 AND event_time BETWEEN $6 AND $7`,
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
		c := heldClick{l.Time.UnixMicro(), l.EventID, l.Partition, l.Offset, l.flags}
		x.picked.add(foundClick{heldClick: c, stamp: -1})
	}
	return x.scanClicks(ctx, held)
}

// userOfClick finds the user of the row's click in Kafka.
func (x *explainer) userOfClick(ctx context.Context) (user int32, ok bool, err error) {
	row := x.row.click
	if row.set != hasBoth {
		return 0, false, nil
	}
	from, err := x.offsetsAt(ctx, topicClicks, row.time-x.snap.skew)
	if err != nil {
		return 0, false, err
	}
	all := storedTopic{}
	for _, part := range [][]span{x.spans(topicClicks, all, from, nil), x.spans(topicClicks, all, nil, from)} {
		err := x.scan(ctx, topicClicks, part, row.id, func(r *kgo.Record, _ int64) {
			e, reason := x.decode(topicClicks, r)
			same := e.id == row.id && e.product == x.row.productID().text && e.time == row.time
			if same && (reason == "" || reason == reasonFuture) {
				user, ok = e.user, true
			}
		})
		if err != nil || ok {
			return user, ok, err
		}
	}
	return 0, false, nil
}
