package join

import "slices"

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
