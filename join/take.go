package join

import "slices"

// Taken is what the next transaction of a shard holds besides what was released.
type Taken struct {
	Corrections []Correction // at most one a checkout, and one more where it was re-asserted
	Late        int          // of them for clicks that were read late
	Position    Position
}

// Waiting says whether corrections wait for a transaction.
func (s *Shard) Waiting() bool { return len(s.Reasserted) > 0 || s.recents.Marked() != forever }

// Take closes what was released and corrected so far into a transaction. Clicks that were read late have only marked the checkouts that they may
// concern; their answers are asked of the window here, of at most so many.
//
// Invariant (promise 4): a position is stored with or after the last correction for the clicks below it. While some checkouts that were marked have
// not been asked for, or those of an earlier owner not been read again, only the checkouts' offset moves on: what is stored of the clicks, of what is
// final and of the restore points stays. What is marked meanwhile is not waited for; the position is that of when the sweep began.
func (c *Core) Take(s *Shard, most int) Taken {
	t := Taken{Corrections: s.Reasserted}
	s.Reasserted = nil
	reasserted := len(t.Corrections)
	done := s.recents.Improve(most, func(key Key, at int64) (int64, ID, bool) {
		return c.win.First(key, at-c.window, at)
	}, func(key Key, r *Recent) {
		if _, ok := s.rejected[r.Offset]; !ok { // else its checkout_id is another checkout's row
			t.Corrections = append(t.Corrections, Correction{Offset: r.Offset, Key: key, Time: r.Time, Checkout: r.ID, Click: r.Click, ClickTime: r.ClickTime})
		}
	})
	t.Late = len(t.Corrections) - reasserted
	s.expire()
	switch {
	case s.restoring:
	case s.sweep != nil && done:
		s.taken, s.sweep = *s.sweep, nil
	case s.sweep != nil || s.recents.Open(): // those that were marked while the checkouts of the earlier owner were read are the next sweep
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

// position is what must be stored with everything that was released and corrected so far. Nothing of an earlier owner is left to be read.
func (c *Core) position(s *Shard) Position {
	at := Position{
		NextOffset: s.next, RecentOffset: s.next, LeaderEpoch: s.epoch, Watermark: max(c.watermark, s.stored.Watermark), FinalBefore: s.final,
		ExpireBefore: s.expireBefore(c.window),
		ClicksNext:   make([]int64, len(c.parts)), ClicksEpoch: make([]int32, len(c.parts)), ClicksLatest: make([]int64, len(c.parts)),
	}
	for i := range c.parts {
		at.ClicksNext[i], at.ClicksEpoch[i], at.ClicksLatest[i] = c.parts[i].next, c.parts[i].epoch, s.latest(i, c.parts[i].latest)
		if i < len(s.stored.ClicksNext) && s.stored.ClicksNext[i] >= at.ClicksNext[i] { // a restart re-reads: what is below had its effect already
			at.ClicksNext[i] = s.stored.ClicksNext[i]
			if i < len(s.stored.ClicksEpoch) {
				at.ClicksEpoch[i] = s.stored.ClicksEpoch[i]
			}
		}
	}
	if o, ok := s.recents.OldestOffset(); ok {
		at.RecentOffset = min(o, s.next)
	}
	at.ClicksRestore = c.restoreAt(at.ExpireBefore)
	if len(s.rejected) >= s.sweptAt { // not each time: somebody may send very many
		for o := range s.rejected {
			if o < at.RecentOffset {
				delete(s.rejected, o)
			}
		}
		s.sweptAt = 2*len(s.rejected) + 64
	}
	for i := range at.ClicksRestore {
		stored := c.parts[i].started
		if i < len(s.stored.ClicksRestore) {
			stored = s.stored.ClicksRestore[i]
		}
		if at.ExpireBefore == NoTime {
			at.ClicksRestore[i] = stored
		}
		at.ClicksRestore[i] = max(at.ClicksRestore[i], stored)
	}
	// Invariant: a position does not go back, neither in a partition that was added and not heard of here yet.
	at.ClicksNext, at.ClicksRestore = longer(at.ClicksNext, s.stored.ClicksNext), longer(at.ClicksRestore, s.stored.ClicksRestore)
	at.ClicksEpoch, at.ClicksLatest = longer(at.ClicksEpoch, s.stored.ClicksEpoch), longer(at.ClicksLatest, s.stored.ClicksLatest)
	return at
}

// longer adds to a list what a stored one has beyond its end.
func longer[T any](list, stored []T) []T {
	return append(list, stored[min(len(list), len(stored)):]...)
}

// latest is the greatest event time of a clicks partition's clicks that were read, by us or before us. Clicks of a position stored without it
// may be of any time.
func (s *Shard) latest(p int, read int64) int64 {
	switch {
	case p < len(s.stored.ClicksLatest):
		return max(read, s.stored.ClicksLatest[p])
	case p < len(s.stored.ClicksNext) && s.stored.ClicksNext[p] > 0:
		return forever
	}
	return read
}

type restorePoints struct {
	version uint64
	offsets []int64
}

// restoreAt gives, by clicks partition, the least offset of a click at or after t, or the position where there is none.
func (c *Core) restoreAt(t int64) []int64 {
	b := int64(NoTime)
	if t != NoTime {
		b = t / indexBucket
	}
	memo, ok := c.restoreMemo[b]
	if !ok || memo.version != c.version {
		memo = restorePoints{version: c.version, offsets: make([]int64, len(c.parts))}
		for i := range c.parts {
			p := &c.parts[i]
			memo.offsets[i] = p.next
			for j := len(p.index) - 1; j >= 0 && p.index[j].Bucket >= b; j-- {
				memo.offsets[i] = min(memo.offsets[i], p.index[j].Offset)
			}
		}
		clear(c.restoreMemo)
		c.restoreMemo[b] = memo
	}
	return slices.Clone(memo.offsets)
}
