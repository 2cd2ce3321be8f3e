package join

import (
	"math"
	"sync/atomic"
	"time"

	"firstclick/join/event"
	"firstclick/join/window"
)

// openTransaction is how long, in micros, a clicks partition held by an open transaction holds
// checkouts back.
const openTransaction = 15_000_000

// noClock stands for a moment of the clock that is not known.
const noClock = math.MinInt64

// Config holds the lengths that decide what a row means.
type Config struct {
	Window     time.Duration // how long before a checkout its click may lie, both ends included
	Lateness   time.Duration // how long after out-of-order a late click still corrects
	OutOfOrder time.Duration // how far events of one partition may be out of order

	MaxFutureSkew time.Duration // how far an event's time may lie ahead of our clock and still decide: see clock
	FarBehind     int64         // records; a clicks partition further behind its end is a backlog. 0: 10,000
	Seed          uint64        // a secret of the process: see open.New
}

// Core decides. One goroutine drives it: clicks that were read, checkouts that were fetched and end
// offsets go in; released checkouts, corrections and positions come out. Only [Core.Frontier],
// [Core.LateBefore] and [Core.LimitsAt] may be called from other goroutines. Times called now are
// microseconds of any clock that never goes back; the core only subtracts them from each other.
type Core struct {
	win        *window.Window
	lookups    *window.Lookups
	window     int64
	lateness   int64
	outOfOrder int64
	farBehind  int64
	seed       uint64

	parts    []clicksPartition
	shards   []*Shard // by partition
	released []event.Released

	watermark      int64
	clicksEndsAt   int64 // when the newest end offsets of the clicks were asked for; noClock: never
	checkoutEndsAt int64 // likewise of the checkouts
	endsKnown      bool  // clicksEndsAt is not long ago
	clockAt        int64 // up to when the clock has moved the watermark; noClock while it does not
	frontier       atomic.Int64
	lateBefore     atomic.Int64
	late           heldClicks // that came too late for some shard
	far            heldClicks // that are far: see clock
	clock          clock

	ends    []endOffsets // not reached yet, by barrier
	reached uint64       // the end offsets of every barrier up to this one have been reached
	newest  uint64       // the newest barrier whose end offsets are known
	version uint64       // changes with everything that a release depends on
	restore restorePoints

	short bool // see ShortOfMemory

	// AheadOfClock counts clicks dated further ahead of our clock than MaxFutureSkew.
	AheadOfClock int64
	// FarClicks and FarCheckouts count events that are noted because they are dated far ahead: a
	// restart does not read them again, and no row stays open for them. An event that is read
	// again counts again.
	FarClicks, FarCheckouts int64
	// OpenTxnReleases counts checkouts released although a partition was held by an open
	// transaction.
	OpenTxnReleases int64
}

// NewCore returns a core that looks clicks up in w. Others insert into w.
func NewCore(cfg Config, w *window.Window) *Core {
	if cfg.FarBehind == 0 {
		cfg.FarBehind = 10_000
	}
	c := &Core{
		win: w, lookups: w.NewLookups(), window: cfg.Window.Microseconds(), lateness: cfg.Lateness.Microseconds(),
		outOfOrder: cfg.OutOfOrder.Microseconds(), farBehind: cfg.FarBehind,
		seed:      cfg.Seed,
		watermark: event.NoTime, clicksEndsAt: noClock, checkoutEndsAt: noClock, clockAt: noClock,
		clock: clock{skew: cfg.MaxFutureSkew.Microseconds(), limits: noLimits()},
	}
	c.frontier.Store(event.NoTime)
	c.lateBefore.Store(event.NoTime)
	return c
}

// Frontier is the time up to which a click may concern a checkout that was released already.
// Whoever inserts a click reads the frontier after the insertion. The core raises it before it
// looks into the window. So either the look-up sees the click, or the inserter sees that the click
// is a [Candidate].
func (c *Core) Frontier() int64 { return c.frontier.Load() }

// LateBefore is the time before which rows of some shard, of whichever instance, are final. A click
// from before it that is read for the first time is a [Candidate].
func (c *Core) LateBefore() int64 { return c.lateBefore.Load() }

// raise raises a time of which the core is the only writer.
func raise(a *atomic.Int64, t int64) {
	if t > a.Load() {
		a.Store(t)
	}
}
