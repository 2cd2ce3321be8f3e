package engine

import (
	"testing"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/chunk"
	"firstclick/pipeline/sink"
)

// noPauser takes every pause.
type noPauser struct{}

func (noPauser) Pause(string, int32)  {}
func (noPauser) Resume(string, int32) {}

// idleEngine owns nothing, and has neither Kafka nor Postgres.
func idleEngine() *Engine {
	w := window.New(0)
	return &Engine{
		Config: Config{Core: join.NewCore(join.Config{Window: time.Hour}, w), Window: w, Group: &sink.Progress{}},
		shards: shards{}, pressure: backpressure{noPauser{}, &sink.Progress{}, 0, map[int32]bool{}, map[int32]bool{}},
		begin: stored{group: &sink.Progress{}}, stored: stored{group: &sink.Progress{}},
	}
}

func (e *Engine) add(p int32, pos event.Position) *shard {
	sh := &shard{at: pos}
	sh.Shard, _ = e.Core.AddShard(p, pos, false)
	e.shards[p] = sh
	return sh
}

func notBegun() event.Position {
	return event.Position{Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime}
}

// A shard that was paused for a starved one is starved later. It goes on, though another shard,
// whose checkouts wait for their clicks, still holds much.
func TestAPausedShardThatHasNothingLeftGoesOn(t *testing.T) {
	e := idleEngine()
	most := e.pressure.most()
	for p, bytes := range []int64{most, most, 0} {
		e.add(int32(p), notBegun()).held.Bytes = bytes
	}
	e.Core.CheckoutsEnds([]int64{9, 9, 9}, 0)
	e.Core.ClicksEnds(1, nil, nil, 0)
	paused := e.pressure.checkouts
	e.pressure.pauseCheckouts(e.shards)
	if !paused[0] || !paused[1] || paused[2] {
		t.Fatalf("paused: %v; want the two that hold much", paused)
	}
	e.shards[0].held.Bytes = 0
	e.pressure.pauseCheckouts(e.shards)
	if paused[0] || !paused[1] {
		t.Errorf("paused: %v; want the one that holds much", paused)
	}
}

// Records without a value take memory too: what is held of them is bounded, however many come.
func TestRecordsWithoutAValueAreHeldWithinBounds(t *testing.T) {
	e := idleEngine()
	h := &e.add(0, notBegun()).held
	pool, n := chunk.NewPool(0), 0
	for ; !e.pressure.full(e.shards); n += 1000 {
		if n > 1_000_000 {
			t.Fatalf("%d records wait, and more are polled", n)
		}
		h.Add(pool.Get(0, 1000, 0), 0, pool)
	}
	h.Drop(n, pool)
	if h.Bytes != 0 {
		t.Errorf("%d bytes are held of nothing", h.Bytes)
	}
	if dead := make([]event.DeadLetter, 1_000_000); lettersSize(dead) < e.pressure.most() {
		t.Errorf("a million dead letters count as %d bytes", lettersSize(dead))
	}
}
