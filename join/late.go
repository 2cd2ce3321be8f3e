package join

import (
	"slices"
	"unsafe"
)

// kept are clicks that come too late for some shard. That one's owner notes them; should the owner die before, the next one does.
type kept struct {
	list  []keptCandidate // in the order in which they were read
	bytes int64
}

type keptCandidate struct {
	partition int32
	Candidate
}

// maxKept bounds, in bytes, the clicks that are kept while some shard does not pass them.
const maxKept = 8 << 20

func (k *keptCandidate) weight() int64 {
	return int64(unsafe.Sizeof(*k)) + int64(len(k.Product)+len(k.ID.text))
}

func (l *kept) add(partition int32, k *Candidate) {
	l.list = append(l.list, keptCandidate{partition, *k})
	l.bytes += l.list[len(l.list)-1].weight()
}

// passed forgets those that every shard has passed.
func (l *kept) passed(clicksNext []int64) {
	l.list = slices.DeleteFunc(l.list, func(k keptCandidate) bool {
		gone := int(k.partition) < len(clicksNext) && k.Offset < clicksNext[k.partition]
		if gone {
			l.bytes -= k.weight()
		}
		return gone
	})
}

// forgetKept forgets the oldest clicks of those kept where they are too many: whoever takes over a shard that has not passed them reads again.
func (c *Core) forgetKept() {
	l := &c.kept
	if l.bytes <= maxKept {
		return
	}
	n := 0
	for ; l.bytes > maxKept/4*3; n++ {
		k := &l.list[n]
		c.Forget(k.partition, k.Offset+1)
		l.bytes -= k.weight()
	}
	l.list = slices.Delete(l.list, 0, n)
}

// Crowded says that late clicks will soon be forgotten. An instance without shards reads no further: it would forget what it began a session to
// read again for a shard that it is about to take over.
func (c *Core) Crowded() bool { return c.kept.bytes > maxKept/2 }

// unjudged is a read of a clicks partition whose clicks were not all before LateBefore as it stood. Rows of a shard elsewhere may have been
// final for them already, without our knowledge: should that one's owner die with its note of such a click, nobody would have it. So
// whoever takes that shard over reads again (invariant: a click that comes too late for rows that it could change is noted, whoever dies).
type unjudged struct {
	time int64 // the least event time of those clicks
	next int64 // the position after the read
}

// maxUnjudged bounds what is kept of a partition while nothing is heard of the other shards. Past it the two oldest become one that claims
// more than both: somebody may read again for nothing.
const maxUnjudged = 1024

// judge takes in a read. Both time and next rise from entry to entry: an older one with a later time says nothing more.
func (p *clicksPartition) judge(u unjudged) {
	if u.time == forever {
		return
	}
	for n := len(p.unjudged); n > 0 && p.unjudged[n-1].time >= u.time; n-- {
		p.unjudged = p.unjudged[:n-1]
	}
	if len(p.unjudged) >= maxUnjudged {
		p.unjudged[1].time = p.unjudged[0].time
		p.unjudged = slices.Delete(p.unjudged, 0, 1)
	}
	p.unjudged = append(p.unjudged, u)
}

// judged forgets the reads of clicks whose effect every shard has stored.
func (p *clicksPartition) judged(stored int64) {
	p.forgotten = max(p.forgotten, stored)
	n := 0
	for n < len(p.unjudged) && p.unjudged[n].next <= stored {
		n++
	}
	p.unjudged = slices.Delete(p.unjudged, 0, n)
}

// owedTo says whether a click of the read may have come too late for rows of a shard taken over at this position, and not had its effect there.
func (u unjudged) owedTo(at Position, partition int) bool {
	return u.time < at.FinalBefore && u.next > at.clicksNext(partition)
}

// owes says whether a read was not seen to be owed to a shard stored at this position.
func (c *Core) owes(at Position) bool {
	for p := range c.parts {
		for _, u := range c.parts[p].unjudged {
			if u.owedTo(at, p) {
				return true
			}
		}
	}
	return false
}
