package join

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

const forever = math.MaxInt64

// Config holds the lengths that decide what a row means. Zero values of the last two take DESIGN's defaults.
type Config struct {
	Window     time.Duration // how long before a checkout its click may lie, both ends included
	Lateness   time.Duration // how long after out-of-order a late click still corrects
	OutOfOrder time.Duration // how far events of one partition may stand out of order

	MaxSkew         time.Duration // how far an event's time may lie ahead of our clock and still decide: see Core.Clock
	FarBehind       int64         // records; a clicks partition further behind its end is a backlog. 0: 10,000
	OpenTransaction time.Duration // how long a partition held by an open transaction holds checkouts back. 0: 15 s
}

// Core decides. It is driven by one goroutine: clicks that were read, checkouts that were fetched, ends that were asked for
// go in; rows, corrections and positions come out. Only [Core.Frontier] may be called from other goroutines. Times called now
// are microseconds of any clock that never goes back; they are only subtracted from each other.
type Core struct {
	win        *Window
	lookups    *Lookups
	window     int64
	lateness   int64
	outOfOrder int64
	farBehind  int64
	openTxn    int64

	parts          []clicksPartition
	shards         []*Shard // by partition
	watermark      int64
	endsAt         int64 // when the newest ends were asked for; noClock: never
	endsKnown      bool  // and they are not old
	checkoutEndsAt int64 // when those of the checkouts were; noClock: never
	clockAt        int64 // up to when the clock has moved the watermark; noClock while it does not
	frontier       atomic.Int64
	late           atomic.Int64 // see LateBefore
	kept           kept
	farClicks      []keptCandidate // see clock
	clock          clock

	asks      []ask  // not yet satisfied, by generation
	satisfied uint64 // every ask up to this one is satisfied
	answered  uint64 // the newest ask answered
	version   uint64 // of everything that a release depends on

	short       bool // see ShortOfMemory
	restoreMemo map[int64]restorePoints

	// Ahead counts clicks dated further ahead of our clock than the guard allows.
	Ahead int64
	// FarClicks and FarCheckouts count those that are noted because they are dated so far ahead
	// that no restart, no correction waits for them; clicks that are read again too.
	FarClicks, FarCheckouts int64
	// OpenTxnReleases counts checkouts released although a partition was held by an open transaction.
	OpenTxnReleases int64
}

const noClock = math.MinInt64

// endsKnown is for how long, in micros, ends say which partitions are at their ends. A process that was stopped, or cut off from Kafka,
// for longer knows of none: clicks of meanwhile may be waiting in any of them.
const endsKnown = 5_000_000

// clicksPartition is what is known of one partition of the clicks topic.
type clicksPartition struct {
	started      int64 // where reading began
	next         int64 // position: the next offset to read, control records counted
	end          int64 // the newest end asked for; -1: none yet
	lso          int64 // last stable offset, asked for when the partition stands still; -1: none
	movedAt      int64 // when next last moved
	newest       times // of the clicks believed
	maxTime      int64 // the event time that they have reached
	latest       int64 // the greatest that a restart reads again, or that was believed
	passed       int64 // up to when, by the clock, everything that came has been read
	ahead        bool  // the newest clicks are all ahead of our clock
	epoch        int32
	lost         bool  // clicks before started are gone from Kafka
	lostUntil    int64 // event time before which clicks may be missing because of that; NoTime: none
	index        []TimeOffset
	unjudged     []unjudged
	farForgotten int64 // offset below which far clicks are in memory no more
	forgotten    int64 // offset below which what was noted of clicks is not in memory: every shard had stored it, or it was too much
}

// TimeOffset is the least offset at which a partition holds a click of one bucket of event time.
type TimeOffset struct{ Bucket, Offset int64 }

// indexBucket is the grain, in microseconds, in which event time is mapped to offsets for the restore points.
const indexBucket = int64(60 * 1_000_000)

// NewCore returns a core that reads its clicks from w, into which others insert.
func NewCore(cfg Config, w *Window) *Core {
	if cfg.FarBehind == 0 {
		cfg.FarBehind = 10_000
	}
	if cfg.OpenTransaction == 0 {
		cfg.OpenTransaction = 15 * time.Second
	}
	c := &Core{
		win: w, lookups: w.NewLookups(), window: cfg.Window.Microseconds(), lateness: cfg.Lateness.Microseconds(),
		outOfOrder: cfg.OutOfOrder.Microseconds(), farBehind: cfg.FarBehind, openTxn: cfg.OpenTransaction.Microseconds(),
		watermark: NoTime, endsAt: noClock, checkoutEndsAt: noClock, clockAt: noClock, restoreMemo: map[int64]restorePoints{},
		clock: clock{skew: cfg.MaxSkew.Microseconds(), believed: forever, far: forever},
	}
	c.frontier.Store(NoTime)
	c.late.Store(NoTime)
	return c
}

// Frontier is the time up to which a click may concern a checkout that was released already. Whoever inserts a click reads
// it after the insertion, and the core raises it before it looks into the window: so either the look-up sees the click, or the
// inserter sees that the click must be handed in as a [Candidate]. Safe for concurrent use.
func (c *Core) Frontier() int64 { return c.frontier.Load() }

func (c *Core) raiseFrontier(t int64) {
	if t > c.frontier.Load() { // the core is the only writer
		c.frontier.Store(t)
	}
}

// LateBefore is the time before which rows of some shard, of whichever instance, are final: a click from before it, read for the
// first time, must be handed in as a [Candidate]. Safe for concurrent use.
func (c *Core) LateBefore() int64 { return c.late.Load() }

func (c *Core) raiseLate(t int64) {
	if t > c.late.Load() { // the core is the only writer
		c.late.Store(t)
	}
}

// LateFunc is told of a click that comes after rows of the shard that it could change were final. The note belongs into the shard's next
// transaction: with it goes the position from which on the click is not looked at again.
type LateFunc func(s *Shard, partition int32, k *Candidate)

// KnowStored tells what is stored of all shards of the group: the greatest time before which rows are final, and by clicks partition
// the offset below which every shard has stored every click's effect.
func (c *Core) KnowStored(finalBefore int64, clicksNext []int64) {
	c.raiseLate(finalBefore)
	for p := range min(len(c.parts), len(clicksNext)) {
		c.parts[p].judged(clicksNext[p])
	}
	c.kept.passed(clicksNext)
}

// Forget says that what was noted of clicks below an offset is in memory no more: a shard that has not passed them is not covered.
func (c *Core) Forget(p int32, below int64) { c.parts[p].forgotten = max(c.parts[p].forgotten, below) }

// AddClicks makes a clicks partition known that will be read from offset next on. lostUntil is the event time before which clicks that
// are gone from Kafka, and were read before they went, may lie (NoTime: none is gone; Forever: nobody knows): a checkout not yet released
// that needs one of them cannot be joined. Invariant: only what was stored of those clicks says how young they were. The clicks that are
// still there do not: the first of them may be a straggler.
func (c *Core) AddClicks(p int32, next, lostUntil, now int64) {
	c.grow(int(p)+1, now)
	cp := &c.parts[p]
	cp.started, cp.next, cp.movedAt = next, next, now
	cp.lost, cp.lostUntil = lostUntil != NoTime, lostUntil
	c.version++
}

func (c *Core) grow(n int, now int64) {
	for len(c.parts) < n {
		c.parts = append(c.parts, clicksPartition{end: -1, lso: -1, movedAt: now, maxTime: NoTime, latest: NoTime, passed: noClock, epoch: -1, lostUntil: NoTime})
	}
}

// Clicks takes in what a read of a clicks partition brought. late is called for each candidate and each shard for which it comes too
// late. judged is false where a shard was taken over while the read was under way, and a click of it may have come too late for the shard
// without being handed in: who wants the note of it reads again.
func (c *Core) Clicks(r *ClicksRead, now int64, late LateFunc) (judged bool) {
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
	c.weigh(r)
	p.note(r.Index)
	u := unjudged{r.Unjudged, r.Next}
	p.judge(u)
	judged = !slices.ContainsFunc(c.shards, func(s *Shard) bool { return u.owedTo(s.stored, int(r.Partition)) })
	c.version++
	for i := range r.Candidates {
		k := &r.Candidates[i]
		c.correct(k)
		if k.Time > r.belief.far && c.takeFar(r.Partition, k, late) {
			continue
		}
		for _, s := range c.shards {
			if s.tooLate(r.Partition, k) {
				late(s, r.Partition, k)
			}
		}
		if k.Time < c.LateBefore() {
			c.kept.add(r.Partition, k)
		}
	}
	c.forgetKept()
	c.advance(now, int(r.Partition))
	return judged
}

// note keeps the least offset of each bucket, by bucket.
func (p *clicksPartition) note(read []TimeOffset) {
	known := len(p.index)
	for _, e := range read {
		i, found := slices.BinarySearchFunc(p.index[:known], e, func(x, e TimeOffset) int { return cmp.Compare(x.Bucket, e.Bucket) })
		if found {
			p.index[i].Offset = min(p.index[i].Offset, e.Offset)
		} else {
			p.index = append(p.index, e)
		}
	}
	if len(p.index) > known { // sorted once a read: one with a bucket a click must not move all buckets for each
		slices.SortFunc(p.index, func(a, b TimeOffset) int {
			return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Offset, b.Offset))
		})
		p.index = slices.CompactFunc(p.index, func(a, b TimeOffset) bool { return a.Bucket == b.Bucket })
	}
}

// correct marks every released checkout that is not final and takes an earlier click: see Take.
func (c *Core) correct(k *Candidate) {
	for _, s := range c.shards {
		from := max(k.Time, s.final) // invariant: a final row does not move
		s.recents.Mark(k.Key, k.Time, k.ID, from, k.Time+c.window)
	}
}

// tooLate says whether rows that the click could change may be final. A shard that has stored the click's effect already, and only
// reads it again after a restart, says no.
func (s *Shard) tooLate(partition int32, k *Candidate) bool {
	again := int(partition) < len(s.stored.ClicksNext) && k.Offset < s.stored.ClicksNext[partition]
	return k.Time < s.final && !again
}

// Watermark is the event time that all clicks are read up to, out-of-order arrivals aside. NoTime: not known yet.
func (c *Core) Watermark() int64 { return c.watermark }

// Tick lets time pass: without news of the ends for long, the clock does not move the watermark.
func (c *Core) Tick(now int64) { c.advance(now, -1) }

// advance moves the watermark: to the least event time believed of the partitions that are not at their end, or, while all are, at the
// pace of the clock, up to when the ends were asked for. The partition that was read just now was not at its end a moment ago, so it
// counts as such; while the ends are not known, every one does. Invariant: it never goes back.
func (c *Core) advance(now int64, reading int) {
	c.endsKnown = c.endsAt != noClock && now-c.endsAt <= endsKnown
	c.moveWatermark(reading, c.endsKnown)
	if c.watermark != NoTime { // shards of other instances are as far, though they have not stored it yet
		c.raiseLate(c.watermark - c.outOfOrder - c.lateness)
	}
	for _, s := range c.shards {
		c.settle(s)
	}
}

func (c *Core) moveWatermark(reading int, known bool) {
	least, atEnd, upTo := int64(forever), true, c.endsAt
	for i := range c.parts {
		p := &c.parts[i]
		end := p.end >= 0 && p.next >= p.end
		if end {
			p.passed = c.endsAt
		}
		switch {
		case known && end && (i != reading || p.ahead):
			continue
		case known && p.ahead && p.passed != noClock && c.endsAt-p.passed <= endsKnown: // its clicks do not say how far it is: the clock does
			upTo = min(upTo, p.passed)
			continue
		}
		atEnd = false
		least = min(least, p.maxTime) // NoTime, of a partition not begun, is less than any
	}
	switch {
	case !atEnd:
		c.watermark = max(c.watermark, least)
		if known || reading >= 0 { // else it is still to be heard whether anything came
			c.clockAt = noClock
		}
	case len(c.parts) > 0:
		if c.watermark == NoTime { // no click was ever read: the checkouts' own time is all there is
			for _, s := range c.shards {
				c.watermark = max(c.watermark, s.maxReleased)
			}
		} else if c.clockAt != noClock {
			c.watermark += max(upTo-c.clockAt, 0)
		}
		c.clockAt = max(c.clockAt, upTo)
	}
}

// settle moves the time before which a shard's rows are final. While the shard itself is behind its end, or that is not known, it may not run ahead of
// the shard's own checkouts, else a backlog of checkouts would count as late and find its clicks expired. Only where its partition can't be read
// and memory is short it runs ahead: invariant: one partition without leader stops its own shard and no other (what comes of it then may be late).
func (c *Core) settle(s *Shard) {
	f := c.watermark
	known := c.endsKnown && c.checkoutEndsAt != noClock && c.endsAt-c.checkoutEndsAt <= endsKnown
	if (s.behind() || !known) && !(s.unreadable && s.Queued() == 0 && c.short) {
		f = min(f, s.maxReleased)
	}
	if f == NoTime || s.restoring || !c.ReadUpTo(s.stored.ClicksNext) { // invariant: nothing is final for a click that is read again
		return
	}
	f -= c.outOfOrder + c.lateness
	if f <= s.final {
		return
	}
	s.final = f
	c.raiseLate(f)
	s.expire()
}

// expire drops the recent checkouts that are final, as long as nothing waits for their like.
func (s *Shard) expire() {
	if f := s.settled(); f != NoTime && (s.expired == NoTime || f-s.expired >= expireGrain) {
		s.recents.Expire(f)
		s.expired = f
	}
}

// expireGrain is how far, in microseconds of event time, a shard's final time moves before its recent checkouts are swept.
const expireGrain = 1_000_000

// RestoreWatermark begins the watermark where a stored one stood. It never goes back.
func (c *Core) RestoreWatermark(w int64) { c.watermark = max(c.watermark, w) }

// Expire frees the clicks that no shard needs any longer. others is the least time that shards of other instances still
// need (forever: there are none), floor reports what was decided.
func (c *Core) Expire(others int64) (floor int64) {
	floor = others
	for _, s := range c.shards {
		floor = min(floor, s.expireBefore(c.window))
	}
	if floor == forever || floor == NoTime {
		return NoTime
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

// Forever stands for no limit where a time is asked for.
const Forever = int64(forever)
