package join_test

import (
	"strings"
	"testing"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

// A click that came too late for final rows of a shard elsewhere is noted by its owner. Should that
// one die before, whoever takes the shard over must have seen it as such, or read it again.
func TestTakeoverOfAShardThatOwesANote(t *testing.T) {
	const base = 1_800_000_000 * second
	none := []maybeLateRead{}
	for _, c := range []struct {
		name   string
		reads  []maybeLateRead
		known  int64 // what every shard is known to have stored, after the reads
		final  int64 // of the shard
		stored int64
		covers bool
	}{
		{"nothing was read", none, 0, base, 1, true},
		{"a click from before, which the owner has stored", []maybeLateRead{{base - 1, 5}}, 0, base, 5, true},
		{"a click from before, which it has not", []maybeLateRead{{base - 1, 6}}, 0, base, 5, false},
		{"a click of the very time is not too late", []maybeLateRead{{base, 6}}, 0, base, 5, true},
		{"the later read's click is the earlier one", []maybeLateRead{{base + 1, 6}, {base - 1, 7}}, 0, base, 6, false},
		{"the earlier read's click is, and stored", []maybeLateRead{{base - 1, 6}, {base + 1, 7}}, 0, base, 6, true},
		{"the earlier read's click is, and not stored", []maybeLateRead{{base - 1, 6}, {base + 1, 7}}, 0, base, 5,
			false},
		{"all have stored it", []maybeLateRead{{base - 1, 6}, {base + 1, 7}}, 6, base, 6, true},
		{"all had stored it, and Postgres has lost that", []maybeLateRead{{base - 1, 6}, {base + 1, 7}}, 6, base, 5,
			false},
		{"all had stored more than Postgres has, and nothing was read", none, 6, base, 5, false},
		{"nothing is final", []maybeLateRead{{base - 1, 6}}, 0, noTime, 0, true},
		{"all clicks came before the time known to be final", []maybeLateRead{{event.Forever, 6}}, 0, base, 5, true},
	} {
		core := join.NewCore(join.Config{Window: time.Hour}, window.New(0))
		core.AddClicks(0, 0, noTime, 0)
		for _, u := range c.reads {
			u.into(core)
		}
		core.StoredByAll(noTime, []int64{c.known})
		if got := core.CanTakeOver(event.Position{ClicksNext: []int64{c.stored}, FinalBefore: c.final,
			ExpireBefore: noTime}); got != c.covers {
			t.Errorf("%s: covers %v, want %v", c.name, got, c.covers)
		}
	}
}

type maybeLateRead struct{ time, next int64 }

func (u maybeLateRead) into(core *join.Core) (missed bool) {
	var r join.ClicksRead
	r.Reset(0)
	r.Next, r.MaybeLate = u.next, u.time
	_, missed = core.Clicks(&r, 0)
	return missed
}

// While nothing is heard of other shards, what is kept of the reads is bounded; then it errs to the
// safe side.
func TestReadsThatMayBeLateAreBounded(t *testing.T) {
	const base = 1_800_000_000 * second
	const reads = 5000
	core := join.NewCore(join.Config{Window: time.Hour}, window.New(0))
	core.AddClicks(0, 0, noTime, 0)
	for i := range int64(reads) {
		maybeLateRead{base + i*second, i + 1}.into(core)
	}
	covers := func(final, stored int64) bool {
		return core.CanTakeOver(event.Position{ClicksNext: []int64{stored}, FinalBefore: final, ExpireBefore: noTime})
	}
	for i := range int64(reads) {
		if covers(base+i*second+1, i) { // of this very read
			t.Fatalf("a click of read %d is forgotten", i)
		}
	}
	if !covers(base+(reads-10)*second, reads-10) {
		t.Error("the newest reads are not told apart any more")
	}
	if covers(base+10*second, 10) {
		t.Error("5,000 reads are kept one by one")
	}
}

// One shard does not pass, and late clicks go on coming: what is kept for whoever takes it over is
// bounded. He reads again what was forgotten.
func TestLateClicksThatAreKeptAreBounded(t *testing.T) {
	const base, clicks = 1_800_000_000 * second, 100_000
	core := join.NewCore(join.Config{Window: time.Hour}, window.New(0))
	core.AddClicks(0, 0, noTime, 0)
	core.StoredByAll(base, []int64{0})
	product := strings.Repeat("p", 100)
	for i := range int64(clicks) {
		r := read(0, i+1, base-second)
		r.Candidates = append(r.Candidates, join.Candidate{Key: event.Key{Hi: uint64(i)}, Time: base - second,
			ID: event.MakeID([]byte("c")), Offset: i, Product: product})
		core.Clicks(r, 0)
		if most := int64(1 << 14); i < most && core.Crowded() {
			t.Fatalf("%d late clicks are a crowd", i)
		}
	}
	if !core.Crowded() {
		t.Error("so many late clicks are no crowd")
	}
	stuck := event.Position{ClicksNext: []int64{10}, FinalBefore: base, ExpireBefore: noTime}
	if core.CanTakeOver(stuck) {
		t.Error("all late clicks are kept")
	}
	const behind = 10_000
	near := stuck
	near.ClicksNext = []int64{clicks - behind}
	if !core.CanTakeOver(near) {
		t.Fatal("the newest are not kept")
	}
	if _, late := core.AddShard(0, near, false); len(late) != behind {
		t.Errorf("%d notes, want %d", len(late), behind)
	}
	core.StoredByAll(base, []int64{clicks})
	if core.Crowded() {
		t.Error("what all shards have passed is kept")
	}
}

// A read may be under way while a shard is taken over: judged by what was final before, and not
// told of yet.
func TestTakeoverWhileAReadIsUnderWay(t *testing.T) {
	const base = 1_800_000_000 * second
	for _, c := range []struct {
		name            string
		maybeLate, next int64
		missed          bool
	}{
		{"a click from before the shard's final time, which its last owner has not stored", base - 1, 6, true},
		{"one that it has", base - 1, 5, false},
		{"a click of the very time", base, 6, false},
		{"none", event.Forever, 6, false},
	} {
		core := join.NewCore(join.Config{Window: time.Hour}, window.New(0))
		core.AddClicks(0, 0, noTime, 0)
		at := event.Position{ClicksNext: []int64{5}, FinalBefore: base, ExpireBefore: noTime}
		if !core.CanTakeOver(at) {
			t.Fatalf("%s: not covered before it is told of", c.name)
		}
		core.AddShard(0, at, false)
		if missed := (maybeLateRead{c.maybeLate, c.next}.into(core)); missed != c.missed {
			t.Errorf("%s: missed %v, want %v", c.name, missed, c.missed)
		}
	}
}

// A restart reads clicks again that had had their effect before: in no row of those that are
// released now. Nothing is final for them, however far behind its end their partition is and
// whatever was released meanwhile.
func TestNothingIsFinalForAClickThatIsReadAgain(t *testing.T) {
	const base = 1_800_000_000 * second
	win := window.New(0)
	core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second,
		FarBehind: 5}, win)
	core.AddClicks(0, 0, noTime, 0)
	at := event.Position{LeaderEpoch: -1, ClicksNext: []int64{10}, Watermark: base + 2*hour, FinalBefore: noTime,
		ExpireBefore: noTime}
	core.RestoreWatermark(at.Watermark)
	s, _ := core.AddShard(0, at, false)
	key := event.Key{Hi: 1}
	s.Fetched([]event.Checkout{{Offset: 0, Time: base, Key: key, ID: event.MakeID([]byte("k")), Barrier: 1},
		{Offset: 1, Time: base + hour, ID: event.MakeID([]byte("later")), Barrier: 1}})
	core.CheckoutsEnds([]int64{2}, 0)
	core.ClicksEnds(1, []int64{100}, nil, 0)
	clicks := func(r *join.ClicksRead) {
		if late, _ := core.Clicks(r, 0); len(late) > 0 {
			t.Errorf("noted as late: %v", late)
		}
	}
	clicks(read(0, 5, base+2*hour))
	if released, err := core.Release(s, 10, 0); len(released) != 2 || err != nil {
		t.Fatalf("%d released, %v", len(released), err)
	}
	again := read(0, 9, base-second)
	win.Insert(key, base-second, event.MakeID([]byte("c")))
	again.Candidates = append(again.Candidates, join.Candidate{Key: key, Time: base - second,
		ID: event.MakeID([]byte("c")), Offset: 8})
	clicks(again)
	if n := len(core.Take(s, 10).Corrections); n != 1 || s.Final() != noTime {
		t.Errorf("%d corrections, final before %d", n, s.Final())
	}
	clicks(read(0, 10, noTime))
	if want := base + 2*hour - 15*minute - 15*second; s.Final() != want {
		t.Errorf("final before %d, want %d: all is read again", s.Final(), want)
	}
}
