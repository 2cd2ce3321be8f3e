package join

import (
	"slices"

	"firstclick/join/event"
)

// maxEndsAge is for how long, in micros, end offsets say which partitions are at their ends. After
// a process was stopped, or cut off from Kafka, for longer, new clicks may be waiting in any of
// them.
const maxEndsAge = 5_000_000

// expireGrain is how far, in micros of event time, a shard's final time moves before the final ones
// among its open checkouts are dropped.
const expireGrain = 1_000_000

// Watermark is the event time that all clicks have been read up to, out-of-order arrivals aside.
// NoTime: not known yet.
func (c *Core) Watermark() int64 { return c.watermark }

// RestoreWatermark begins the watermark at a stored one. It never goes back.
func (c *Core) RestoreWatermark(w int64) { c.watermark = max(c.watermark, w) }

// Tick lets time pass: without news of the ends for long, the clock does not move the watermark.
func (c *Core) Tick(now int64) { c.advance(now, -1) }

// advance moves the watermark, and what is final. reading is the partition that was read just now;
// -1: none.
func (c *Core) advance(now int64, reading int) {
	c.endsKnown = c.clicksEndsAt != noClock && now-c.clicksEndsAt <= maxEndsAge
	c.moveWatermark(reading)
	if c.watermark != event.NoTime { // shards of other instances are as far, though they have not stored it yet
		raise(&c.lateBefore, c.watermark-c.outOfOrder-c.lateness)
	}
	for _, s := range c.shards {
		c.finalize(s)
	}
}

// moveWatermark moves the watermark to the least event time of the partitions that are not at their
// end. While all are at their end, it moves at the pace of the clock, up to when the ends were
// asked for. The partition that is being read was not at its end a moment ago, so it counts as not
// at its end. While the ends are not known, every partition counts. Invariant: the watermark never
// goes back.
func (c *Core) moveWatermark(reading int) {
	least, atEnd, upTo := event.Forever, true, c.clicksEndsAt
	for i := range c.parts {
		p := &c.parts[i]
		end := p.end >= 0 && p.next >= p.end
		if end {
			p.readAt = c.clicksEndsAt
		}
		switch {
		case c.endsKnown && end && (i != reading || p.ahead):
			continue
		case c.endsKnown && p.ahead && p.readAt != noClock && c.clicksEndsAt-p.readAt <= maxEndsAge:
			upTo = min(upTo, p.readAt) // its clicks do not say how far it is: the clock does
			continue
		}
		atEnd = false
		least = min(least, p.maxTime) // NoTime, of a partition not begun, is less than any
	}
	switch {
	case !atEnd:
		c.watermark = max(c.watermark, least)
		if c.endsKnown || reading >= 0 { // else it is not known yet whether anything came
			c.clockAt = noClock
		}
	case len(c.parts) > 0:
		if c.watermark == event.NoTime { // no click was ever read: the checkouts' own time is all there is
			for _, s := range c.shards {
				c.watermark = max(c.watermark, s.maxReleased)
			}
		} else if c.clockAt != noClock {
			c.watermark += max(upTo-c.clockAt, 0)
		}
		c.clockAt = max(c.clockAt, upTo)
	}
}

// finalize moves the time before which a shard's rows are final. While the shard itself is behind
// its end, or that is not known, that time may not pass the shard's own checkouts. Otherwise a
// backlog of checkouts would count as late and find its clicks expired. It may pass them only where
// the shard's partition cannot be read and memory is short. Invariant: one partition without leader
// stops its own shard and no other. What comes of it then may be late.
func (c *Core) finalize(s *Shard) {
	f := c.watermark
	known := c.endsKnown && c.checkoutEndsAt != noClock && c.clicksEndsAt-c.checkoutEndsAt <= maxEndsAge
	if (s.behind() || !known) && !(s.unreadable && s.Queued() == 0 && c.short) {
		f = min(f, s.maxReleased)
	}
	// invariant: nothing is final for a click that is read again
	if f == event.NoTime || s.restoring || !c.ReadUpTo(s.stored.ClicksNext) {
		return
	}
	f -= c.outOfOrder + c.lateness
	if f <= s.final {
		return
	}
	s.final = f
	raise(&c.lateBefore, f)
	s.dropFinal()
}

// dropFinal drops the open checkouts that are final and wait for no correction.
func (s *Shard) dropFinal() {
	if f := s.corrected(); f != event.NoTime && (s.dropped == event.NoTime || f-s.dropped >= expireGrain) {
		s.open.Expire(f)
		s.dropped = f
	}
}

// ShortOfMemory says whether clicks take more memory than they may: see finalize.
func (c *Core) ShortOfMemory(short bool) { c.short = short }

// Expire frees the clicks that no shard needs any longer. others is the least time that shards of
// other instances still need (Forever: there are none). It returns the time before which clicks are
// freed.
func (c *Core) Expire(others int64) (floor int64) {
	floor = others
	for _, s := range c.shards {
		floor = min(floor, s.expireBefore(c.window))
	}
	if floor == event.Forever || floor == event.NoTime {
		return event.NoTime
	}
	c.win.Expire(floor)
	b := floor / indexBucket
	for i := range c.parts {
		p := &c.parts[i]
		n := 0
		for n < len(p.index) && p.index[n].Bucket < b {
			n++
		}
		p.index = slices.Delete(p.index, 0, n)
	}
	return floor
}

// times are those of the newest events of a partition. One wrong clock among them does not say how
// far the partition is. That matters where nobody can know any more that it was ahead: in a
// backlog, and in what is read again.
type times struct {
	ring [timesKept]int64
	n    int // ever added
}

const (
	timesKept = 31 // newest events
	tooFew    = 8  // of fewer the latest counts: they say nothing of each other
)

func (r *times) add(t int64) {
	r.ring[r.n%timesKept] = t
	r.n++
}

// addAll adds what o holds.
func (r *times) addAll(o *times) {
	for i := max(0, o.n-timesKept); i < o.n; i++ {
		r.add(o.ring[i%timesKept])
	}
}

// reached is the greatest time that lies no more than apart after the median. Of a few times it is
// the greatest. NoTime: there is none.
func (r *times) reached(apart int64) int64 {
	if r.n == 0 {
		return event.NoTime
	}
	sorted := r.ring
	some := sorted[:min(r.n, timesKept)]
	slices.Sort(some)
	if len(some) < tooFew {
		return some[len(some)-1]
	}
	median := some[(len(some)-1)/2]
	beyond, _ := slices.BinarySearch(some, median+apart+1)
	return some[beyond-1]
}
