package join_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

// group is two instances over one Kafka and one Postgres, all in memory: shards move between them
// in good order or not, transactions are under way while both go on, and land or not. Rapid chooses
// what happens next. Every row that is not the one of brute force must be explained by a late event
// that was noted; no click that was in the log before a checkout may be missing in its first row;
// every click that can't be decoded must be a dead letter. Clocks may be wrong: producers' and,
// where those are right, the instances' own.
type group struct {
	t     *rapid.T
	clock int64
	seq   int // of what is appended to any log
	far   int64

	wrongEvents []int64 // by how much some are dated ahead; nil: none is
	wrongClocks bool    // of the instances

	clicks    [][]clickRecord
	checkouts [][]checkoutRecord

	postgres            // dead: clicks that can't be decoded, and rejected checkouts
	standby  []postgres // as it was after each of the last transactions: what a failover may go back to
	claims   int

	instances [2]*instance
}

type place struct {
	clicks    bool
	partition int32
	offset    int64
}

type clickRecord struct {
	click
	seq int
	at  int64 // when it was produced
	bad bool
}

type checkoutRecord struct {
	checkout
	seq int
	at  int64
}

type tableRow struct {
	row
	of checkout // the content that came first
}

type storedShard struct {
	at      event.Position
	owner   int // a number of group.claims; 0: let go
	commits int
}

// postgres is all that is stored.
type postgres struct {
	table      map[string]tableRow
	stored     map[int32]storedShard
	dead, late map[place]bool
}

type instance struct {
	g        *group
	window   *window.Window
	core     *join.Core
	read     []int64
	fresh    []int64
	asked    uint64
	owns     map[int32]storedShard // as this instance has claimed them, and committed since
	restores map[int32]*restoreJob
	batches  map[int32]*batch
	dead     []place
	under    []place // dead letters that transactions under way hold
	kept     []place // dead letters that have landed, and that not all shards are known to have passed
	jobs     []*job
	wrong    int64 // by how much its clock is ahead
	// watermark is the least that was stored when the attempt began: that of another shard's last
	// owner says nothing of what was read here.
	watermark int64
	// by clicks partition: a read whose clicks are in the window, and which the core has not heard
	// of
	flying map[int]*join.ClicksRead
}

type batch struct {
	rows        []releasedRow
	late        []place
	corrections []event.Correction
	at          event.Position
	claim       int
	commits     int
}

type releasedRow struct {
	row
	of     checkout
	offset int64
}

// restoreJob is what is still to be read again of a shard.
type restoreJob struct {
	from, to int64
	upTo     []int64        // of the clicks, before it begins
	rejected map[int64]bool // as stored when it begins
}

// job is a transaction under way.
type job struct {
	batches map[int32]*batch
	dead    []place
}

func newGroup(t *rapid.T) *group {
	g := &group{t: t, clock: 1_800_000_000 * second}
	g.postgres = postgres{map[string]tableRow{}, map[int32]storedShard{}, map[place]bool{}, map[place]bool{}}
	g.clicks = make([][]clickRecord, rapid.IntRange(1, 3).Draw(t, "clicks partitions"))
	g.checkouts = make([][]checkoutRecord, rapid.IntRange(1, 3).Draw(t, "checkouts partitions"))
	switch rapid.IntRange(0, 3).Draw(t, "wrong clocks") {
	case 1:
		g.wrongEvents = neverTrue
	case 2:
		g.wrongEvents = someComeTrue
	case 3:
		g.wrongClocks = true
	}
	g.far = rapid.SampledFrom([]int64{5, 1 << 40}).Draw(t, "far behind")
	for p := range g.checkouts {
		g.stored[int32(p)] = storedShard{at: event.Position{
			LeaderEpoch: -1, Watermark: noTime, FinalBefore: noTime, ExpireBefore: noTime,
			ClicksNext: make([]int64, len(g.clicks)), ClicksRestore: make([]int64, len(g.clicks)),
		}}
	}
	for i := range g.instances {
		g.instances[i] = &instance{g: g}
		g.instances[i].begin()
	}
	return g
}

// begin is a new attempt: from what is stored.
func (in *instance) begin() {
	g := in.g
	in.window = window.New(0)
	in.core = join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second,
		MaxFutureSkew: 5 * time.Minute, FarBehind: g.far}, in.window)
	in.tellClock()
	in.owns, in.batches = map[int32]storedShard{}, map[int32]*batch{}
	in.dead, in.under, in.jobs, in.asked = nil, nil, nil, 0
	in.restores, in.kept = map[int32]*restoreJob{}, nil
	in.flying = map[int]*join.ClicksRead{}
	in.read = make([]int64, len(g.clicks))
	for p := range g.clicks {
		in.read[p] = event.Forever
		for _, st := range g.stored {
			in.read[p] = min(in.read[p], placeIn(st.at.ClicksRestore, p))
		}
		in.core.AddClicks(int32(p), in.read[p], event.NoTime, g.clock)
	}
	in.watermark = event.Forever
	for _, st := range g.stored {
		in.watermark = min(in.watermark, st.at.Watermark)
	}
	in.know()
	in.fresh = g.storedByAll()
}

func (in *instance) wall() int64 { return in.g.clock + in.wrong }

func (in *instance) tellClock() { in.core.SetClock(in.wall(), in.g.clock) }

// setClock is somebody who sets an instance's clock, right or wrong.
func (in *instance) setClock() {
	if in.g.wrongClocks {
		in.wrong = rapid.SampledFrom([]int64{0, 0, 10 * minute, 26 * hour, 9000 * hour, -10 * minute, -40 * minute,
			-26 * hour, -9000 * hour}).Draw(in.g.t, "clock ahead by")
	}
}

// know is what an instance learns from Postgres once in a while.
func (in *instance) know() {
	final, others := noTime, event.Forever
	for p, st := range in.g.stored {
		final = max(final, st.at.FinalBefore)
		if in.owns[p].owner == 0 {
			others = min(others, st.at.ExpireBefore)
		}
	}
	next := in.g.storedByAll()
	for _, own := range in.owns { // whoever took one over may yet be as if he had not been
		for p := range next {
			next[p] = min(next[p], placeIn(own.at.ClicksNext, p))
		}
	}
	in.core.Expire(others)
	in.core.StoredByAll(final, next)
	passed := func(d place) bool { return d.offset < next[d.partition] }
	in.dead, in.kept = slices.DeleteFunc(in.dead, passed), slices.DeleteFunc(in.kept, passed)
}

func (g *group) storedByAll() []int64 {
	next := make([]int64, len(g.clicks))
	for p := range next {
		next[p] = event.Forever
		for _, st := range g.stored {
			next[p] = min(next[p], placeIn(st.at.ClicksNext, p))
		}
	}
	return next
}

// placeIn is a stored offset; a partition that was added since begins at 0.
func placeIn(offsets []int64, p int) int64 {
	if p < len(offsets) {
		return offsets[p]
	}
	return 0
}
