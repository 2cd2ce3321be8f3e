package join

// endOffsets are the ends of the clicks partitions as asked for once. The request is a barrier: all
// checkouts fetched before it wait for no click behind these offsets.
type endOffsets struct {
	barrier uint64
	ends    []int64

	version uint64 // of the core when upTo and stuck were worked out
	upTo    int64  // checkouts up to this time may go already; NoTime: none
	stuck   bool   // an open transaction was passed over for it
}

// maxEnds bounds the end offsets kept. Past it the newest ones take the place of their
// predecessors: stricter, never wrong.
const maxEnds = 64

// ClicksEnds takes in the clicks partitions' end offsets, uncommitted records counted, as asked for
// by a request that began after the fetch of every checkout with Barrier <= barrier. Every
// partition's end must be known. stable are the last stable offsets, if they were asked for. asked
// is when the request began, not when its answer came. It returns the clicks partitions that are
// new.
func (c *Core) ClicksEnds(barrier uint64, clicks, stable []int64, asked int64) (added []int32) {
	for p := len(c.parts); p < len(clicks); p++ {
		added = append(added, int32(p))
	}
	c.grow(len(clicks), asked)
	for p, end := range clicks {
		cp := &c.parts[p]
		if cp.next >= cp.end && cp.next < end {
			cp.movedAt = asked // there was nothing to read before: it stands from now on
		}
		cp.end = max(cp.end, end)
		cp.lso = -1
		if p < len(stable) {
			cp.lso = stable[p]
		}
	}
	c.clicksEndsAt = max(c.clicksEndsAt, asked)
	c.version++
	if barrier > c.newest {
		c.newest = barrier
		e := endOffsets{barrier: barrier, ends: clicks}
		if len(c.ends) >= maxEnds {
			c.ends[len(c.ends)-1] = e
		} else {
			c.ends = append(c.ends, e)
		}
	}
	c.advance(asked, -1)
	return added
}

// CheckoutsEnds takes in the ends of the checkouts partitions, as asked for at a time. A negative
// one is not known: the partition may have no leader.
func (c *Core) CheckoutsEnds(ends []int64, asked int64) {
	c.checkoutEndsAt = max(c.checkoutEndsAt, asked)
	for _, s := range c.shards {
		if int(s.Partition) < len(ends) {
			end := ends[s.Partition]
			s.end, s.unreadable = max(s.end, end), end < 0
		}
	}
}

// NeedsEnds says whether a checkout waits whose barrier's end offsets are not known.
func (c *Core) NeedsEnds() bool {
	for _, s := range c.shards {
		if s.Queued() > 0 && s.queue[len(s.queue)-1].Barrier > c.newest {
			return true
		}
	}
	return false
}

// Stalled says whether a clicks partition has stood short of its end for at least d microseconds:
// then its last stable offset is worth asking for.
func (c *Core) Stalled(now, d int64) bool {
	for i := range c.parts {
		if p := &c.parts[i]; p.next < p.end && now-p.movedAt >= d {
			return true
		}
	}
	return false
}

// dropReached drops the end offsets that every partition has been read up to.
func (c *Core) dropReached() {
	n := 0
	for n < len(c.ends) && c.ReadUpTo(c.ends[n].ends) {
		c.reached = c.ends[n].barrier
		n++
	}
	if n > 0 {
		c.ends = c.ends[:copy(c.ends, c.ends[n:])]
	}
}

// endsOf are the first end offsets that were asked for at a barrier or later; nil: not known yet.
func (c *Core) endsOf(barrier uint64) *endOffsets {
	for i := range c.ends {
		if c.ends[i].barrier >= barrier {
			return &c.ends[i]
		}
	}
	return nil
}

// ReadUpTo says whether every clicks partition has been read up to the given positions.
func (c *Core) ReadUpTo(positions []int64) bool {
	for p, want := range positions {
		if p >= len(c.parts) || c.parts[p].next < want {
			return false
		}
	}
	return true
}
