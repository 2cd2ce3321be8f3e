package join_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

// Retention may take clicks that were read before a restart. A checkout that could need one of them
// is a gap; one that could not must go, or a group that was away for longer than the retention
// would never go on.
func TestClicksThatAreGone(t *testing.T) {
	const base = 1_800_000_000 * second
	for _, c := range []struct {
		name      string
		lostUntil int64
		first     int64 // time of the first click still there; noTime: none is
		checkout  int64
		gap       bool
	}{
		{"nobody knows how young they were, and nothing is left", event.Forever, noTime, base + 100*hour, true},
		{"nobody knows, and the first that is left is young", event.Forever, base, base + hour, true},
		{"nobody knows, and the first that is left is older than any in the window", event.Forever, base, base +
			2*hour, true},
		{"all were older than the window, and nothing is left", base + 1, noTime, base + hour + 1, false},
		{"the youngest stood at the window's very begin", base + 1, noTime, base + hour, true},
		{"all were older than the window, and the first that is left is young", base + 1, base + hour, base + hour +
			second, false},
		{"a straggler is left, older than the youngest that was read", base + hour, base - hour, base + hour, true},
		{"a straggler is left, and no click that is gone is in the window", base + hour, base - hour, base + 2*hour,
			false},
		{"none is gone", noTime, noTime, base, false},
	} {
		win := window.New(0)
		core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second},
			win)
		core.AddClicks(0, 1, c.lostUntil, 0)
		s, _ := core.AddShard(0, event.Position{LeaderEpoch: -1, Watermark: noTime, FinalBefore: noTime,
			ExpireBefore: noTime}, false)
		if c.first != noTime {
			core.Clicks(read(0, 2, c.first), 0)
			core.Clicks(read(0, 3, base+2*hour), 0)
		}
		s.Fetched([]event.Checkout{{Time: c.checkout, ID: event.MakeID([]byte("k"))}})
		core.CheckoutsEnds([]int64{1}, 0)
		core.ClicksEnds(1, []int64{1}, nil, 0)
		released, err := core.Release(s, 10, 0)
		var lost *join.LostClicksError
		if gap := errors.As(err, &lost); gap != c.gap || !gap && (err != nil || len(released) != 1) {
			t.Errorf("%s: %d released, error %v; want a gap: %v", c.name, len(released), err, c.gap)
		}
	}
}

// A checkout that comes too late is joined where it can be, and noted. It is no gap: its clicks
// would be gone without a restart too.
func TestALateCheckoutIsNoGap(t *testing.T) {
	const base = 1_800_000_000 * second
	core := join.NewCore(join.Config{Window: time.Hour}, window.New(0))
	core.AddClicks(0, 1, event.Forever, 0)
	s, _ := core.AddShard(0, event.Position{LeaderEpoch: -1, Watermark: base, FinalBefore: base,
		ExpireBefore: base - hour}, false)
	s.Fetched([]event.Checkout{{Time: base - 1, ID: event.MakeID([]byte("late"))},
		{Offset: 1, Time: base, ID: event.MakeID([]byte("not late"))}})
	core.CheckoutsEnds([]int64{2}, 0)
	core.ClicksEnds(1, []int64{1}, nil, 0)
	released, err := core.Release(s, 10, 0)
	var lost *join.LostClicksError
	if len(released) != 1 || !released[0].Final || released[0].ID.String() != "late" || !errors.As(err, &lost) ||
		lost.Checkout != 1 {
		t.Errorf("released as late: %v, then %v; want the late one, and a gap for the other", released, err)
	}
}

func TestAPositionKnowsTheLatestClick(t *testing.T) {
	const base = 1_800_000_000 * second
	core, _, s := begun(base, 2)
	core.Clicks(read(1, 2, base+5*second), 0)
	core.Clicks(read(1, 3, base+3*second), 0)
	at := core.Take(s, 1).Position
	if at.ClicksLatest[0] != base || at.ClicksLatest[1] != base+5*second {
		t.Errorf("latest clicks %v", at.ClicksLatest)
	}
	// After a restart those that are read again are older than what was read before.
	core, _, _ = begun(base-hour, 2)
	core.DropShard(0)
	s, _ = core.AddShard(0, at, false)
	if got := core.Take(s, 1).Position.ClicksLatest; got[0] != base || got[1] != base+5*second {
		t.Errorf("latest clicks %v after a restart", got)
	}
}

// A shard may have been where a partition was known that its new owner has not heard of yet.
func TestAPositionKeepsWhatIsStoredOfOtherPartitions(t *testing.T) {
	core, _, _ := begun(1_800_000_000*second, 1)
	core.DropShard(0)
	stored := event.Position{ClicksNext: []int64{1, 8}, ClicksRestore: []int64{0, 7}, ClicksEpoch: []int32{1, 6},
		ClicksLatest: []int64{3, 5}, FinalBefore: noTime, ExpireBefore: noTime}
	s, _ := core.AddShard(0, stored, false)
	at := core.Take(s, 1).Position
	if len(at.ClicksNext) != 2 || at.ClicksNext[1] != 8 || at.ClicksRestore[1] != 7 || at.ClicksEpoch[1] != 6 ||
		at.ClicksLatest[1] != 5 {
		t.Errorf("%+v", at)
	}
}

// Retention cuts anywhere, stragglers stand anywhere: a checkout whose clicks are gone is a gap,
// and is never joined to what is left.
func TestWhatRetentionTookAgainstBruteForce(t *testing.T) {
	const base = 1_800_000_000 * second
	rapid.Check(t, func(t *rapid.T) {
		var log []int64
		for i := range rapid.Int64Range(1, 40).Draw(t, "clicks") {
			back := rapid.SampledFrom([]int64{0, 0, 0, 0, second, 10 * minute, 2 * hour, 30 * hour}).Draw(t, "late by")
			log = append(log, base+i*5*minute-back)
		}
		read := rapid.IntRange(1, len(log)).Draw(t, "read before the restart")
		cut := rapid.IntRange(1, read).Draw(t, "cut by retention")
		latest := slices.Max(log[:read]) // what was stored

		win := window.New(0)
		core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second},
			win)
		core.AddClicks(0, int64(cut), latest+1, 0)
		s, _ := core.AddShard(0, event.Position{LeaderEpoch: -1, Watermark: noTime, FinalBefore: noTime,
			ExpireBefore: noTime}, false)
		var r join.ClicksRead
		r.Reset(0)
		for o := cut; o < len(log); o++ {
			win.Insert(event.Key{Hi: 1}, log[o], event.MakeID(fmt.Append(nil, o)))
			r.Add(log[o], int64(o))
		}
		r.Next = int64(len(log))
		core.Clicks(&r, 0)
		k := base + rapid.Int64Range(-60, 60*5).Draw(t, "checkout")*minute
		s.Fetched([]event.Checkout{{Time: k, Key: event.Key{Hi: 1}, ID: event.MakeID([]byte("k"))}})
		core.CheckoutsEnds([]int64{1}, 0)
		core.ClicksEnds(1, []int64{int64(len(log))}, nil, 0)
		var row event.Released
		released, err := core.Release(s, 10, 0)
		if len(released) > 0 {
			row = released[0]
		}
		want := noTime
		for _, c := range log {
			if k-hour <= c && c <= k && (want == noTime || c < want) {
				want = c
			}
		}
		var lost *join.LostClicksError
		switch {
		case errors.As(err, &lost):
			if latest < k-hour {
				t.Errorf("a gap, though every click that was read before is older than the checkout's window")
			}
		case err != nil:
			t.Fatal(err)
		case row.HasClick != (want != noTime) || row.HasClick && row.ClickTime != want:
			t.Errorf("joined to %+v without a word, want the click of %d", row, want)
		}
	})
}
