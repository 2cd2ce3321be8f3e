package join

import (
	"fmt"

	"firstclick/join/event"
	"firstclick/join/open"
	"firstclick/join/window"
)

// LostClicksError says that a checkout not yet released needs clicks that are gone from Kafka.
type LostClicksError struct {
	Partition int32 // of the clicks topic
	Started   int64 // offset from which clicks are there
	Checkout  int64 // offset of the checkout
	Time      int64 // its event time
}

func (e *LostClicksError) Error() string {
	return fmt.Sprintf("clicks partition %d begins at offset %d: clicks that the checkout at offset %d needs are gone",
		e.Partition, e.Started, e.Checkout)
}

// Release takes up to limit records from the shard's queue, in offset order, that need not wait any
// longer, and returns them: checkouts with the first click that each has, and what is to be skipped
// as it is. The slice holds until the next call.
//
// Invariant: a checkout goes only when every clicks partition has been read up to its end as asked
// for after the checkout was fetched (docs/architecture.md#promise-2-no-false-nulls). There are two
// exceptions. A partition far behind its end is passed when its event time has passed the
// checkout's by the out-of-order allowance. A partition held by an open transaction is waited for
// no longer than 15 s.
func (c *Core) Release(s *Shard, limit int, now int64) ([]event.Released, error) {
	clear(c.released)
	c.released = c.released[:0]
	c.dropReached()
	last, top := s.head, event.NoTime
	for ; last < len(s.queue) && last-s.head < limit; last++ {
		k := s.queue[last]
		if k.Skip {
			continue
		}
		if !c.mayGo(s, k, now) {
			break
		}
		if k.Time <= c.clock.limits.far { // no later click corrects one that is far
			top = max(top, k.Time)
		}
	}
	if last == s.head {
		return nil, nil
	}
	if top != event.NoTime {
		raise(&c.frontier, top) // before any look-up: see Frontier
	}
	for s.head < last {
		if err := c.releaseSome(s, min(last, s.head+window.LookupsSize)); err != nil {
			return c.released, err
		}
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	if s.newest.n > 0 {
		s.maxReleased = s.newest.reached(c.lateness + c.outOfOrder)
	}
	c.finalize(s)
	return c.released, nil
}

// releaseSome releases the records up to a place in the queue.
func (c *Core) releaseSome(s *Shard, to int) error {
	c.lookups.Reset()
	for _, k := range s.queue[s.head:to] {
		if !k.Skip {
			c.lookups.Ask(k.Key, k.Time-c.window, k.Time)
		}
	}
	c.lookups.Find()
	for answer := 0; s.head < to; s.head++ {
		k := s.queue[s.head]
		r := event.Released{Checkout: k}
		if !k.Skip {
			far := k.Time > c.clock.limits.far
			r.Final = k.Time < s.final || far
			if !r.Final { // invariant: what comes too late, or is far, stops nothing
				if err := c.lostClicks(k); err != nil {
					return err
				}
			}
			if far {
				c.FarCheckouts++
			}
			r.ClickTime, r.Click, r.HasClick = c.lookups.Answer(answer)
			answer++
			if !r.Final {
				s.open.Add(k.Key, open.Checkout{Time: k.Time, Offset: k.Offset, ID: k.ID, ClickTime: r.ClickTime,
					Click: r.Click, HasClick: r.HasClick})
			}
			if k.Time <= c.clock.limits.decides {
				s.newest.add(k.Time)
			}
		}
		s.next, s.epoch = k.Offset+1, k.Epoch
		c.released = append(c.released, r)
		s.queue[s.head] = nil
	}
	return nil
}

// lostClicks says whether clicks that a checkout may need are gone.
func (c *Core) lostClicks(k *event.Checkout) error {
	for i := range c.parts {
		if p := &c.parts[i]; p.lostUntil != event.NoTime && k.Time-c.window < p.lostUntil {
			return &LostClicksError{Partition: int32(i), Started: p.started, Checkout: k.Offset, Time: k.Time}
		}
	}
	return nil
}

func (c *Core) mayGo(s *Shard, k *event.Checkout, now int64) bool {
	if k.Barrier <= c.reached {
		return true
	}
	e := c.endsOf(k.Barrier)
	if e == nil {
		return false
	}
	if e.version != c.version {
		c.workOut(e, now)
	}
	if e.upTo == event.NoTime || c.decidingTime(s, k) > e.upTo {
		return false
	}
	if e.stuck {
		c.OpenTxnReleases++
	}
	return true
}

// workOut works out up to which time checkouts may go although not all end offsets are reached.
func (c *Core) workOut(e *endOffsets, now int64) {
	e.version, e.upTo, e.stuck = c.version, event.Forever, false
	for i, end := range e.ends {
		p := &c.parts[i]
		switch {
		case p.next >= end:
		case p.lso >= 0 && p.next >= p.lso && now-p.movedAt >= openTransaction:
			// Invariant: nothing of it can be read, so its event time is not waited for.
			e.stuck = true
		default:
			backlog, passed := c.backlog(p)
			if !backlog {
				e.upTo = event.NoTime
				return
			}
			e.upTo = min(e.upTo, passed)
		}
	}
}

// backlog says whether a clicks partition is a backlog whose event time counts, and which checkouts
// it has passed: those up to a time.
func (c *Core) backlog(p *clicksPartition) (backlog bool, passed int64) {
	t := c.passedTime(p)
	return p.end-p.next > c.farBehind && t != event.NoTime, t - c.outOfOrder
}

// WaitedFor says, by clicks partition, whether the oldest checkout at the head of a queue waits for
// it. Such a partition must never be paused. All are true while nothing is known.
func (c *Core) WaitedFor() []bool {
	w := make([]bool, len(c.parts))
	var oldest *event.Checkout
	var since int64
	for _, s := range c.shards {
		if k := s.firstQueued(); k != nil {
			if t := c.decidingTime(s, k); oldest == nil || t < since {
				oldest, since = k, t
			}
		}
	}
	if oldest == nil || oldest.Barrier <= c.reached {
		return w
	}
	e := c.endsOf(oldest.Barrier)
	for i := range w {
		p := &c.parts[i]
		short := e == nil || i >= len(e.ends) || p.next < e.ends[i]
		backlog, passed := c.backlog(p)
		w[i] = short && !(backlog && passed >= since)
	}
	return w
}
