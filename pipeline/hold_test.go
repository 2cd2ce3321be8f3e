package pipeline

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/sink"
)

// idleLoop is a loop that owns nothing, without Kafka or Postgres.
func idleLoop(t *testing.T) *loop {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	core := join.NewCore(join.Config{Window: time.Hour}, window.New(window.Config{}))
	return newLoop(&session{checkoutsClient: cl, core: core, cfg: Config{CheckoutsTopic: "checkouts", Zone: time.UTC}}, &targets{}, nil)
}

func notBegun() event.Position {
	return event.Position{Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime}
}

// A shard that was paused for a hungry one becomes hungry itself: it goes on, though another, whose checkouts wait for their clicks, still holds much.
func TestAPausedShardThatHasNothingLeftGoesOn(t *testing.T) {
	l := idleLoop(t)
	most := l.maxHeld()
	for p, bytes := range []int64{most, most, 0} {
		s, _ := l.core.AddShard(int32(p), notBegun(), false)
		l.shards[int32(p)] = &shard{Shard: s, held: held{bytes: bytes}}
	}
	l.core.CheckoutsEnds([]int64{9, 9, 9}, 0)
	l.core.ClicksEnds(1, nil, nil, 0)
	l.holdCheckouts()
	if !l.checkoutsPaused[0] || !l.checkoutsPaused[1] || l.checkoutsPaused[2] {
		t.Fatalf("paused: %v; want the two that hold much", l.checkoutsPaused)
	}
	l.shards[0].held.bytes = 0
	l.holdCheckouts()
	if l.checkoutsPaused[0] || !l.checkoutsPaused[1] {
		t.Errorf("paused: %v; want the one that holds much", l.checkoutsPaused)
	}
}

// Records without a value take memory too: however many come, there is an end to what is held of them.
func TestRecordsWithoutAValueAreHeldWithinBounds(t *testing.T) {
	l := idleLoop(t)
	s, _ := l.core.AddShard(0, notBegun(), false)
	l.shards[0] = &shard{Shard: s}
	var c chunks
	h := &l.shards[0].held
	for n := 0; !l.full(); n += 1000 {
		if n > 1_000_000 {
			t.Fatalf("%d records wait, and more are polled", n)
		}
		h.add(c.take(1000, 0), 0, &c)
		h.gone += 1000
	}
	h.settle(h.gone, &c)
	if h.bytes != 0 {
		t.Errorf("%d bytes are held of nothing", h.bytes)
	}
	if dead := make([]sink.DeadLetter, 1_000_000); payloads(dead) < l.maxHeld() {
		t.Errorf("a million dead letters count as %d bytes", payloads(dead))
	}
}
