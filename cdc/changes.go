package cdc

import "slices"

// changes is a ring of the ids that the newest streamed transactions have changed. Of changes that
// left the ring it keeps the transactions, so that a fill that saw all of them is still accepted.
//
// Ids and xids have slices of their own: a fill scans only the xids.
type changes struct {
	ids  []int32
	xids []uint64
	next int // place of the next change
	full bool

	newest  uint64 // greatest xid recorded
	lost    xidSet // transactions with a change that left the ring
	dropped uint64 // the transaction last added to lost
}

func newChanges(size int) *changes {
	return &changes{ids: make([]int32, size), xids: make([]uint64, size)}
}

func (c *changes) record(id int32, x uint64) {
	if c.full && c.xids[c.next] != c.dropped {
		c.dropped = c.xids[c.next]
		c.lost.add(c.dropped)
	}
	c.ids[c.next], c.xids[c.next] = id, x
	c.newest = max(c.newest, x)
	if c.next++; c.next == len(c.ids) {
		c.next, c.full = 0, true
	}
}

// mayHaveLost says whether a change that s does not see may have left the ring.
func (c *changes) mayHaveLost(s *snapshot) bool {
	return !c.lost.empty() && (c.lost.newest >= s.xmax || slices.ContainsFunc(s.xip, c.lost.mayHold))
}

// unseen calls fn with the id of every change in the ring that s does not see. An id may come
// several times.
func (c *changes) unseen(s *snapshot, fn func(id int32)) {
	if c.newest < s.xmin {
		return
	}
	n := c.next
	if c.full {
		n = len(c.ids)
	}
	for i, x := range c.xids[:n] {
		if x >= s.xmin && !s.sees(x) {
			fn(c.ids[i])
		}
	}
}

// xidSetSpan is how many xids back an xidSet is exact: a bit each, 512 KiB in all. Older xids may
// all be in the set, so fills are refused only while a writing transaction is older than four
// million others.
const xidSetSpan = 1 << 22

// xidSet is a set of xids, exact for the newest xidSetSpan of them. The zero value is empty and
// takes no memory.
type xidSet struct {
	bits   []uint64
	newest uint64
}

func (s *xidSet) empty() bool { return s.bits == nil }

func (s *xidSet) add(x uint64) {
	switch {
	case s.bits == nil:
		s.bits = make([]uint64, xidSetSpan/64)
		s.newest = x
	case x > s.newest && x-s.newest >= xidSetSpan:
		clear(s.bits)
		s.newest = x
	case x > s.newest:
		for y := s.newest + 1; y <= x; y++ {
			if y%64 == 0 && x-y >= 64 {
				s.bits[y%xidSetSpan/64] = 0
				y += 63
				continue
			}
			s.bits[y%xidSetSpan/64] &^= 1 << (y % 64)
		}
		s.newest = x
	case s.newest-x >= xidSetSpan:
		return // too old to be held exactly; mayHold says yes
	}
	s.bits[x%xidSetSpan/64] |= 1 << (x % 64)
}

func (s *xidSet) mayHold(x uint64) bool {
	switch {
	case s.bits == nil || x > s.newest:
		return false
	case s.newest-x >= xidSetSpan:
		return true
	}
	return s.bits[x%xidSetSpan/64]&(1<<(x%64)) != 0
}
