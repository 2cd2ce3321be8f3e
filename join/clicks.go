package join

import (
	"cmp"
	"slices"

	"firstclick/join/event"
)

// clicksPartition is what is known of one partition of the clicks topic.
type clicksPartition struct {
	started   int64 // where reading began
	next      int64 // position: the next offset to read, control records counted
	end       int64 // the newest end offset; -1: none yet
	lso       int64 // last stable offset, asked for when the partition is stalled; -1: none
	movedAt   int64 // when next last moved
	newest    times // of the clicks that decide
	maxTime   int64 // the event time that they have reached
	latest    int64 // the greatest event time that decides, or that a restart reads again
	readAt    int64 // up to when, by the clock, everything that came has been read
	ahead     bool  // the newest clicks are all ahead of our clock
	epoch     int32
	lost      bool  // clicks before started are gone from Kafka
	lostUntil int64 // event time before which clicks may be missing because of that; NoTime: none
	index     []TimeOffset
	maybeLate []maybeLate
	notesFrom int64 // below this offset no notes of late clicks are in memory: see ForgetNotes
	farFrom   int64 // likewise of far clicks
}

// TimeOffset is the least offset at which a partition holds a click of one bucket of event time.
type TimeOffset struct{ Bucket, Offset int64 }

// indexBucket is the grain, in microseconds, in which event time is mapped to offsets for the
// restore points.
const indexBucket = int64(60 * 1_000_000)

// ClicksRead says what one read of a clicks partition brought. The clicks are in the window
// already.
type ClicksRead struct {
	Partition  int32
	Next       int64 // position after the last record, control records counted
	Epoch      int32 // leader epoch of the last record
	Latest     int64 // the greatest event time that is not far; NoTime: none
	MaybeLate  int64 // the least event time of a click that was not before [Core.LateBefore]; Forever: none
	Index      []TimeOffset
	Candidates []Candidate

	limits Limits
	newest times // of the clicks that decide
	ahead  int   // clicks that do not
	near   votes // see clock
}

// Candidate is a click that may concern more than the checkouts to come. Its time is not after
// [Core.Frontier]: it may correct a released checkout. Or it is before [Core.LateBefore] and the
// click was not read before a restart: it may come too late. Or it is far: see [Limits].
type Candidate struct {
	Key       event.Key
	Time      int64
	ID        event.ID
	Partition int32 // set by the core
	Offset    int64
	User      int32
	Product   string
}

// Reset makes r ready for the next read of a partition. Every time decides until SetLimits is
// called.
func (r *ClicksRead) Reset(partition int32) {
	*r = ClicksRead{
		Partition: partition, Latest: event.NoTime, MaybeLate: event.Forever, Epoch: -1, Index: r.Index[:0],
		Candidates: r.Candidates[:0],
		limits:     noLimits(),
	}
}

// SetLimits sets what our clock says of the clicks to come.
func (r *ClicksRead) SetLimits(l Limits) { r.limits = l }

// Add adds a click's time and offset to what the read brought.
func (r *ClicksRead) Add(t, offset int64) {
	if t > r.limits.decides {
		r.ahead++
		if t > r.limits.far { // a Candidate: the core says whether a restart reads it again
			return
		}
		r.near.ahead++
	} else {
		r.newest.add(t)
		if t > r.limits.decides-(r.limits.far-r.limits.decides)/4 {
			r.near.good++
		}
	}
	r.Latest = max(r.Latest, t)
	b := t / indexBucket
	const few = 8 // a read spans few buckets, unless somebody means it to span many
	for i := len(r.Index) - 1; i >= max(0, len(r.Index)-few); i-- {
		if r.Index[i].Bucket == b {
			return // offsets rise within a read: the first one stays the least
		}
	}
	r.Index = append(r.Index, TimeOffset{b, offset})
}

// IsCandidate says whether a click is a [Candidate]. frontier and lateBefore are [Core.Frontier]
// and [Core.LateBefore] as they were after the click went into the window. fresh says that the
// click was not read before a restart.
func (r *ClicksRead) IsCandidate(t, frontier, lateBefore int64, fresh bool) bool {
	if t >= lateBefore {
		r.MaybeLate = min(r.MaybeLate, t)
	}
	return t <= frontier || t < lateBefore && fresh || t > r.limits.far
}

// AddClicks makes a clicks partition known that will be read from offset next on. lostUntil is the
// event time before which clicks may lie that were read before and are gone from Kafka (NoTime:
// none is gone; Forever: nobody knows). A checkout not yet released that needs one of them cannot
// be joined. Invariant: only what was stored of those clicks says how young they were. The first
// click that is still there does not: it may be a straggler.
func (c *Core) AddClicks(p int32, next, lostUntil, now int64) {
	c.grow(int(p)+1, now)
	cp := &c.parts[p]
	cp.started, cp.next, cp.movedAt = next, next, now
	cp.lost, cp.lostUntil = lostUntil != event.NoTime, lostUntil
	c.version++
}

func (c *Core) grow(n int, now int64) {
	for len(c.parts) < n {
		c.parts = append(c.parts, clicksPartition{
			end: -1, lso: -1, movedAt: now, maxTime: event.NoTime, latest: event.NoTime, readAt: noClock, epoch: -1,
			lostUntil: event.NoTime,
		})
	}
}

// Clicks takes in what a read of a clicks partition brought. It returns the candidates that come
// too late for a shard, or are far, once for each shard: the shard's next transaction must note
// them, because it stores the position from which on the click is not read again.
//
// missed says that a click may have come too late for a shard that was taken over during the read,
// and was not handed in. A new attempt must read it again.
func (c *Core) Clicks(r *ClicksRead, now int64) (late []LateClick, missed bool) {
	c.grow(int(r.Partition)+1, now)
	p := &c.parts[r.Partition]
	if r.Next > p.next {
		p.next, p.movedAt = r.Next, now
	}
	if r.Epoch >= 0 {
		p.epoch = r.Epoch
	}
	p.latest = max(p.latest, r.Latest)
	if r.newest.n+r.ahead > 0 {
		p.ahead = r.newest.n == 0
	}
	p.newest.addAll(&r.newest)
	p.maxTime = p.newest.reached(c.lateness + c.outOfOrder)
	c.countVotes(r)
	p.addToIndex(r.Index)
	read := maybeLate{r.MaybeLate, r.Next}
	p.addMaybeLate(read)
	missed = slices.ContainsFunc(c.shards, func(s *Shard) bool { return read.missedBy(&s.stored, int(r.Partition)) })
	c.version++
	for i := range r.Candidates {
		k := &r.Candidates[i]
		k.Partition = r.Partition
		for _, s := range c.shards {
			from := max(k.Time, s.final) // invariant: a final row does not move
			s.open.Mark(k.Key, k.Time, k.ID, from, k.Time+c.window)
		}
		far := k.Time > r.limits.far && c.takeFar(k)
		for _, s := range c.shards {
			if far && s.stored.NeedsClick(k.Partition, k.Offset) || !far && s.tooLate(k) {
				late = append(late, LateClick{s.Partition, *k})
			}
		}
		if !far && k.Time < c.LateBefore() {
			c.late.add(k)
		}
	}
	for _, k := range c.late.trim(maxLate) {
		c.ForgetNotes(k.Partition, k.Offset+1)
	}
	c.advance(now, int(r.Partition))
	return late, missed
}

// addToIndex keeps the least offset of each bucket, by bucket.
func (p *clicksPartition) addToIndex(read []TimeOffset) {
	known := len(p.index)
	for _, e := range read {
		i, found := slices.BinarySearchFunc(p.index[:known], e,
			func(x, e TimeOffset) int { return cmp.Compare(x.Bucket, e.Bucket) })
		if found {
			p.index[i].Offset = min(p.index[i].Offset, e.Offset)
		} else {
			p.index = append(p.index, e)
		}
	}
	if len(p.index) > known { // once a read: a read with a bucket for each click must not move all buckets for each
		slices.SortFunc(p.index, func(a, b TimeOffset) int {
			return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Offset, b.Offset))
		})
		p.index = slices.CompactFunc(p.index, func(a, b TimeOffset) bool { return a.Bucket == b.Bucket })
	}
}

// ClicksState is how far one clicks partition is.
type ClicksState struct {
	Next, End, MaxTime int64
}

// ClicksStates lists the clicks partitions.
func (c *Core) ClicksStates() []ClicksState {
	st := make([]ClicksState, len(c.parts))
	for i := range c.parts {
		st[i] = ClicksState{c.parts[i].next, c.parts[i].end, c.parts[i].maxTime}
	}
	return st
}
