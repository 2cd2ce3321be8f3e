package join_test

import (
	"strings"
	"testing"
	"time"

	"firstclick/join"
)

// A click that came too late for final rows of a shard elsewhere is noted by its owner. Should that one die before, whoever takes the shard
// over must have seen it as such, or read it again.
func TestTakeoverOfAShardThatOwesANote(t *testing.T) {
	const base = 1_800_000_000 * second
	none := []unjudgedRead{}
	for _, c := range []struct {
		name   string
		reads  []unjudgedRead
		known  int64 // what every shard is known to have stored, after the reads
		final  int64 // of the shard
		stored int64
		covers bool
	}{
		{"nothing was read", none, 0, base, 1, true},
		{"a click from before, which the owner has stored", []unjudgedRead{{base - 1, 5}}, 0, base, 5, true},
		{"a click from before, which it has not", []unjudgedRead{{base - 1, 6}}, 0, base, 5, false},
		{"a click of the very time is not too late", []unjudgedRead{{base, 6}}, 0, base, 5, true},
		{"the later read's click is the earlier one", []unjudgedRead{{base + 1, 6}, {base - 1, 7}}, 0, base, 6, false},
		{"the earlier read's click is, and stored", []unjudgedRead{{base - 1, 6}, {base + 1, 7}}, 0, base, 6, true},
		{"the earlier read's click is, and not stored", []unjudgedRead{{base - 1, 6}, {base + 1, 7}}, 0, base, 5, false},
		{"all have stored it", []unjudgedRead{{base - 1, 6}, {base + 1, 7}}, 6, base, 6, true},
		{"all had stored it, and Postgres has lost that", []unjudgedRead{{base - 1, 6}, {base + 1, 7}}, 6, base, 5, false},
		{"all had stored more than Postgres has, and nothing was read", none, 6, base, 5, false},
		{"nothing is final", []unjudgedRead{{base - 1, 6}}, 0, noTime, 0, true},
		{"all clicks came before the time known to be final", []unjudgedRead{{join.Forever, 6}}, 0, base, 5, true},
	} {
		core := join.NewCore(join.Config{Window: time.Hour}, join.NewWindow(join.WindowConfig{}))
		core.AddClicks(0, 0, noTime, 0)
		for _, u := range c.reads {
			u.into(core)
		}
		core.KnowStored(noTime, []int64{c.known})
		if got := core.Covers(join.Position{ClicksNext: []int64{c.stored}, FinalBefore: c.final, ExpireBefore: noTime}); got != c.covers {
			t.Errorf("%s: covers %v, want %v", c.name, got, c.covers)
		}
	}
}

type unjudgedRead struct{ time, next int64 }

func (u unjudgedRead) into(core *join.Core) (judged bool) {
	var r join.ClicksRead
	r.Reset(0)
	r.Next, r.Unjudged = u.next, u.time
	return core.Clicks(&r, 0, nil)
}

// While nothing is heard of other shards, what is kept of the reads is bounded; then it errs to the safe side.
func TestUnjudgedReadsAreBounded(t *testing.T) {
	const base = 1_800_000_000 * second
	const reads = 5000
	core := join.NewCore(join.Config{Window: time.Hour}, join.NewWindow(join.WindowConfig{}))
	core.AddClicks(0, 0, noTime, 0)
	for i := range int64(reads) {
		unjudgedRead{base + i*second, i + 1}.into(core)
	}
	covers := func(final, stored int64) bool {
		return core.Covers(join.Position{ClicksNext: []int64{stored}, FinalBefore: final, ExpireBefore: noTime})
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

// One shard does not pass, and late clicks go on coming: what is kept for whoever takes it over is bounded. He reads again what was forgotten.
func TestLateClicksThatAreKeptAreBounded(t *testing.T) {
	const base, clicks = 1_800_000_000 * second, 100_000
	core := join.NewCore(join.Config{Window: time.Hour}, join.NewWindow(join.WindowConfig{}))
	core.AddClicks(0, 0, noTime, 0)
	core.KnowStored(base, []int64{0})
	product := strings.Repeat("p", 100)
	for i := range int64(clicks) {
		r := read(0, i+1, base-second)
		r.Candidates = append(r.Candidates, join.Candidate{Key: join.Key{Hi: uint64(i)}, Time: base - second, ID: join.MakeID([]byte("c")), Offset: i, Product: product})
		core.Clicks(r, 0, nil)
		if most := int64(1 << 14); i < most && core.Crowded() {
			t.Fatalf("%d late clicks are a crowd", i)
		}
	}
	if !core.Crowded() {
		t.Error("so many late clicks are no crowd")
	}
	stuck := join.Position{ClicksNext: []int64{10}, FinalBefore: base, ExpireBefore: noTime}
	if core.Covers(stuck) {
		t.Error("all late clicks are kept")
	}
	const behind = 10_000
	near, notes := stuck, 0
	near.ClicksNext = []int64{clicks - behind}
	if !core.Covers(near) {
		t.Fatal("the newest are not kept")
	}
	core.AddShard(0, near, false, func(*join.Shard, int32, *join.Candidate) { notes++ })
	if notes != behind {
		t.Errorf("%d notes, want %d", notes, behind)
	}
	core.KnowStored(base, []int64{clicks})
	if core.Crowded() {
		t.Error("what all shards have passed is kept")
	}
}

// A read may be under way while a shard is taken over: judged by what was final before, and not told of yet.
func TestTakeoverWhileAReadIsUnderWay(t *testing.T) {
	const base = 1_800_000_000 * second
	for _, c := range []struct {
		name           string
		unjudged, next int64
		owes           bool
	}{
		{"a click from before the shard's final time, which its last owner has not stored", base - 1, 6, true},
		{"one that it has", base - 1, 5, false},
		{"a click of the very time", base, 6, false},
		{"none", join.Forever, 6, false},
	} {
		core := join.NewCore(join.Config{Window: time.Hour}, join.NewWindow(join.WindowConfig{}))
		core.AddClicks(0, 0, noTime, 0)
		at := join.Position{ClicksNext: []int64{5}, FinalBefore: base, ExpireBefore: noTime}
		if !core.Covers(at) {
			t.Fatalf("%s: not covered before it is told of", c.name)
		}
		core.AddShard(0, at, false, nil)
		if owes := !(unjudgedRead{c.unjudged, c.next}.into(core)); owes != c.owes {
			t.Errorf("%s: owes %v, want %v", c.name, owes, c.owes)
		}
	}
}

// A restart reads clicks again that had had their effect before: in no row of those that are released now. Nothing is final for them, however far
// behind its end their partition is and whatever was released meanwhile.
func TestNothingIsFinalForAClickThatIsReadAgain(t *testing.T) {
	const base = 1_800_000_000 * second
	win := join.NewWindow(join.WindowConfig{})
	core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second, FarBehind: 5}, win)
	core.AddClicks(0, 0, noTime, 0)
	at := join.Position{LeaderEpoch: -1, ClicksNext: []int64{10}, Watermark: base + 2*hour, FinalBefore: noTime, ExpireBefore: noTime}
	core.RestoreWatermark(at.Watermark)
	s := core.AddShard(0, at, false, nil)
	key := join.Key{Hi: 1}
	s.Fetched([]join.Pending{{Offset: 0, Time: base, Key: key, ID: join.MakeID([]byte("k")), Need: 1}, {Offset: 1, Time: base + hour, ID: join.MakeID([]byte("later")), Need: 1}})
	core.CheckoutEnds([]int64{2}, 0)
	core.Ends(1, []int64{100}, nil, 0)
	late := func(*join.Shard, int32, *join.Candidate) { t.Error("noted as late") }
	core.Clicks(read(0, 5, base+2*hour), 0, late)
	if n, err := core.Release(s, 10, 0, func(*join.Pending, *join.Recent, bool) {}); n != 2 || err != nil {
		t.Fatalf("%d released, %v", n, err)
	}
	again := read(0, 9, base-second)
	win.Insert(key, base-second, join.MakeID([]byte("c")))
	again.Candidates = append(again.Candidates, join.Candidate{Key: key, Time: base - second, ID: join.MakeID([]byte("c")), Offset: 8})
	core.Clicks(again, 0, late)
	if n := len(core.Take(s, 10).Corrections); n != 1 || s.Final() != noTime {
		t.Errorf("%d corrections, final before %d", n, s.Final())
	}
	core.Clicks(read(0, 10, noTime), 0, late)
	if want := base + 2*hour - 15*minute - 15*second; s.Final() != want {
		t.Errorf("final before %d, want %d: all is read again", s.Final(), want)
	}
}
