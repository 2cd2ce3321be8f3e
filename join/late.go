package join

import (
	"slices"
	"unsafe"

	"firstclick/join/event"
)

// A late click is noted: it gets a row in firstclick.late, in the next transaction of each shard
// for which it came too late. The owner of a shard may die before that transaction. So every
// instance that read the click holds it until every shard has stored a position behind it, and
// hands it to whoever takes a shard over. What an instance does not hold any more, it reads again
// before it takes over a shard that may lack the note: see CanTakeOver.

// LateClick is a click that comes too late for rows of a shard.
type LateClick struct {
	Shard int32 // checkouts partition
	Candidate
}

// heldClicks are clicks whose notes a shard may lack, in the order in which they were read.
type heldClicks struct {
	list  []Candidate
	bytes int64
}

// Bounds of the clicks held, in bytes.
const (
	maxLate = 8 << 20
	maxFar  = 4 << 20
)

func (k *Candidate) size() int64 {
	_, _, text := k.ID.Parts()
	return int64(unsafe.Sizeof(*k)) + int64(len(k.Product)+len(text))
}

func (h *heldClicks) add(k *Candidate) {
	h.list = append(h.list, *k)
	h.bytes += k.size()
}

// trim drops the oldest quarter if there is more than most, and returns it.
func (h *heldClicks) trim(most int64) (dropped []Candidate) {
	if h.bytes <= most {
		return nil
	}
	n := 0
	for ; h.bytes > most/4*3; n++ {
		h.bytes -= h.list[n].size()
	}
	dropped = slices.Clone(h.list[:n])
	h.list = slices.Delete(h.list, 0, n)
	return dropped
}

// storedByAll drops the clicks whose effect every shard has stored.
func (h *heldClicks) storedByAll(clicksNext []int64) {
	h.list = slices.DeleteFunc(h.list, func(k Candidate) bool {
		stored := int(k.Partition) < len(clicksNext) && k.Offset < clicksNext[k.Partition]
		if stored {
			h.bytes -= k.size()
		}
		return stored
	})
}

// StoredByAll says what is stored of all shards of the group: the greatest time before which rows
// are final, and by clicks partition the offset below which every shard has stored every click's
// effect.
func (c *Core) StoredByAll(finalBefore int64, clicksNext []int64) {
	raise(&c.lateBefore, finalBefore)
	for p := range min(len(c.parts), len(clicksNext)) {
		c.parts[p].storedByAll(clicksNext[p])
	}
	c.late.storedByAll(clicksNext)
}

// ForgetNotes says that notes of clicks below an offset are in memory no more. A shard that has not
// stored them cannot be taken over without reading the clicks again.
func (c *Core) ForgetNotes(p int32, below int64) {
	c.parts[p].notesFrom = max(c.parts[p].notesFrom, below)
}

// Crowded says that notes of late clicks will soon be dropped. An instance without shards should
// read no further: it would drop what it is about to need for a shard that it takes over.
func (c *Core) Crowded() bool { return c.late.bytes > maxLate/2 }

// tooLate says whether rows that the click could change may be final. If the shard has stored the
// click's effect before a restart, the click is not late.
func (s *Shard) tooLate(k *Candidate) bool {
	stored := int(k.Partition) < len(s.stored.ClicksNext) && k.Offset < s.stored.ClicksNext[k.Partition]
	return k.Time < s.final && !stored
}

// takeFar takes in a click that its reader found far. Where our clock is not trusted it is like any
// other: far is false.
func (c *Core) takeFar(k *Candidate) (far bool) {
	p := &c.parts[k.Partition]
	if k.Time <= c.clock.limits.far {
		p.addToIndex([]TimeOffset{{k.Time / indexBucket, k.Offset}})
		p.latest = max(p.latest, k.Time)
		return false
	}
	c.far.add(k)
	for _, old := range c.far.trim(maxFar) {
		q := &c.parts[old.Partition]
		q.farFrom = max(q.farFrom, old.Offset+1)
	}
	c.FarClicks++
	return true
}

// maybeLate is a read of clicks that were not before LateBefore as it was then. Rows of a shard of
// another instance may have been final for them already, without our knowledge. If that shard's
// owner dies with its note of such a click, nobody has the note. So whoever takes the shard over
// reads again (invariant: a click that comes too late for rows that it could change is noted,
// whoever dies).
type maybeLate struct {
	time int64 // the least event time of those clicks
	next int64 // the position after the read
}

// maxMaybeLate bounds what is kept of a partition while nothing is heard of the other shards. Past
// it the two oldest reads become one that covers both: somebody may read again for nothing.
const maxMaybeLate = 1024

// addMaybeLate keeps a read. Both time and next rise from entry to entry: an older one with a later
// time says nothing more.
func (p *clicksPartition) addMaybeLate(read maybeLate) {
	if read.time == event.Forever {
		return
	}
	for n := len(p.maybeLate); n > 0 && p.maybeLate[n-1].time >= read.time; n-- {
		p.maybeLate = p.maybeLate[:n-1]
	}
	if len(p.maybeLate) >= maxMaybeLate {
		p.maybeLate[1].time = p.maybeLate[0].time
		p.maybeLate = slices.Delete(p.maybeLate, 0, 1)
	}
	p.maybeLate = append(p.maybeLate, read)
}

// storedByAll drops the reads of clicks whose effect every shard has stored.
func (p *clicksPartition) storedByAll(next int64) {
	p.notesFrom = max(p.notesFrom, next)
	p.maybeLate = slices.DeleteFunc(p.maybeLate, func(read maybeLate) bool { return read.next <= next })
}

// missedBy says whether a click of the read may have come too late for rows of a shard that is
// taken over at a position, without effect there.
func (read maybeLate) missedBy(at *event.Position, partition int) bool {
	return read.time < at.FinalBefore && read.next > at.Effective(partition)
}
