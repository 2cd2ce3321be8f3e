package join

import (
	"math"
	"slices"

	"firstclick/join/event"
)

// Taken is what the next transaction of a shard holds besides what was released.
type Taken struct {
	Corrections []event.Correction // at most one a checkout, and one more where it was restored
	Late        int                // of them for clicks that were read late
	Position    event.Position
}

// HasCorrections says whether corrections wait for a transaction.
func (s *Shard) HasCorrections() bool {
	return len(s.Corrections) > 0 || s.open.Marked() != event.Forever
}

// Take closes what was released and corrected so far into a transaction. Clicks that were read late
// have only marked the checkouts that they may concern. Take looks up the clicks of so many of them
// at most.
//
// Invariant (docs/architecture.md#promise-4-a-restart-is-exact): a position is stored with or after
// the last correction for the clicks below it. While some marked checkouts have not been looked up,
// or those of an earlier owner not been restored, only the checkouts' offset moves on: the stored
// positions of clicks, final times and restore points stay. Take does not wait for checkouts marked
// meanwhile: the position is that of when the sweep began.
func (c *Core) Take(s *Shard, most int) Taken {
	t := Taken{Corrections: s.Corrections}
	s.Corrections = nil
	better, done := s.open.Improve(nil, most, c.win, c.window)
	for _, k := range better {
		if _, ok := s.rejected[k.Offset]; !ok { // else its checkout_id is another checkout's row
			t.Corrections = append(t.Corrections, k)
			t.Late++
		}
	}
	s.dropFinal()
	switch {
	case s.restoring:
	case s.sweep != nil && done:
		s.taken, s.sweep = *s.sweep, nil
	case s.sweep != nil || s.open.Waiting(): // those that were marked while checkouts were restored are the next sweep
	case done:
		s.taken = c.position(s)
	default:
		at := c.position(s)
		s.sweep = &at
	}
	s.taken.NextOffset, s.taken.LeaderEpoch = s.next, s.epoch
	t.Position = s.taken
	return t
}

// position is what must be stored with everything that was released and corrected so far. Nothing
// of an earlier owner is left to be restored.
func (c *Core) position(s *Shard) event.Position {
	n := len(c.parts)
	at := event.Position{
		NextOffset: s.next, OpenOffset: s.next, LeaderEpoch: s.epoch, Watermark: max(c.watermark,
			s.stored.Watermark), FinalBefore: s.final,
		ExpireBefore: s.expireBefore(c.window),
		ClicksNext:   make([]int64, n), ClicksEpoch: make([]int32, n), ClicksLatest: make([]int64, n),
	}
	at.ClicksRestore = c.restoreAt(at.ExpireBefore)
	for i := range c.parts {
		p := &c.parts[i]
		at.ClicksNext[i], at.ClicksEpoch[i], at.ClicksLatest[i] = p.next, p.epoch, s.latest(i, p.latest)
		// a restart reads again: what is below had its effect already
		if i < len(s.stored.ClicksNext) && s.stored.ClicksNext[i] >= p.next {
			at.ClicksNext[i] = s.stored.ClicksNext[i]
			if i < len(s.stored.ClicksEpoch) {
				at.ClicksEpoch[i] = s.stored.ClicksEpoch[i]
			}
		}
		restore := p.started
		if i < len(s.stored.ClicksRestore) {
			restore = s.stored.ClicksRestore[i]
		}
		if at.ExpireBefore == event.NoTime {
			at.ClicksRestore[i] = restore
		}
		at.ClicksRestore[i] = max(at.ClicksRestore[i], restore)
	}
	// Invariant: a position does not go back, also in a partition that was added and is not known
	// here yet.
	at.ClicksNext, at.ClicksRestore = longer(at.ClicksNext, s.stored.ClicksNext), longer(at.ClicksRestore,
		s.stored.ClicksRestore)
	at.ClicksEpoch, at.ClicksLatest = longer(at.ClicksEpoch, s.stored.ClicksEpoch), longer(at.ClicksLatest,
		s.stored.ClicksLatest)
	if o, ok := s.open.OldestOffset(); ok {
		at.OpenOffset = min(o, s.next)
	}
	if len(s.rejected) >= s.cleanAt { // not each time: there may be very many
		for o := range s.rejected {
			if o < at.OpenOffset {
				delete(s.rejected, o)
			}
		}
		s.cleanAt = 2*len(s.rejected) + 64
	}
	return at
}

// longer adds to a list what a stored one has beyond its end.
func longer[T any](list, stored []T) []T {
	return append(list, stored[min(len(list), len(stored)):]...)
}

// latest is the greatest event time of a clicks partition's clicks that were read, by us or before
// us. A position stored without it says nothing: its clicks may be of any time.
func (s *Shard) latest(p int, read int64) int64 {
	switch {
	case p < len(s.stored.ClicksLatest):
		return max(read, s.stored.ClicksLatest[p])
	case p < len(s.stored.ClicksNext) && s.stored.ClicksNext[p] > 0:
		return event.Forever
	}
	return read
}

// restorePoints are the clicks partitions' restore points for a bucket of event time.
type restorePoints struct {
	version uint64
	bucket  int64
	offsets []int64
}

// restoreAt gives, by clicks partition, the least offset of a click at or after t, or the position
// where there is none.
func (c *Core) restoreAt(t int64) []int64 {
	b := int64(math.MinInt64)
	if t != event.NoTime {
		b = t / indexBucket
	}
	r := &c.restore
	if r.offsets == nil || r.version != c.version || r.bucket != b {
		*r = restorePoints{version: c.version, bucket: b, offsets: make([]int64, len(c.parts))}
		for i := range c.parts {
			p := &c.parts[i]
			r.offsets[i] = p.next
			for j := len(p.index) - 1; j >= 0 && p.index[j].Bucket >= b; j-- {
				r.offsets[i] = min(r.offsets[i], p.index[j].Offset)
			}
		}
	}
	return slices.Clone(r.offsets)
}
