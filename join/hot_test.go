package join_test

import (
	"fmt"
	"testing"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

// One key with many recent checkouts and many clicks, the newest first: each click is better than
// the one before, for all checkouts. What waits for a transaction is a checkout's once, and taken
// in portions; the clicks' positions wait for the last of them.
func TestOneKeyWithManyClicksNewestFirst(t *testing.T) {
	const (
		base      = 1_800_000_000 * second
		checkouts = 20_000
		clicks    = 500
		most      = 8_000
	)
	win := window.New(0)
	core := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second}, win)
	core.AddClicks(0, 0, noTime, 0)
	s, _ := core.AddShard(0, event.Position{ClicksNext: []int64{0}, Watermark: noTime, FinalBefore: noTime,
		ExpireBefore: noTime}, false)
	key := event.Key{Hi: 1, Lo: 2}
	pending := make([]event.Checkout, checkouts)
	for i := range pending {
		pending[i] = event.Checkout{Offset: int64(i), Time: base + int64(i), Key: key, ID: numbered("k", i), Barrier: 1}
	}
	s.Fetched(pending)
	core.CheckoutsEnds([]int64{checkouts}, 0)
	core.ClicksEnds(1, []int64{0}, nil, 0)
	if released, err := core.Release(s, checkouts, 0); len(released) != checkouts || err != nil {
		t.Fatalf("%d released, %v", len(released), err)
	}
	_, before := s.Open()
	for i := range int64(clicks) {
		at := base - 1 - i*second/10
		win.Insert(key, at, numbered("c", int(i)))
		r := read(0, i+1, at)
		r.Candidates = append(r.Candidates, join.Candidate{Key: key, Time: at, ID: numbered("c", int(i)), Offset: i})
		core.Clicks(r, 0)
	}
	if _, after := s.Open(); after-before > 1<<16 {
		t.Errorf("%d clicks of a key made %d bytes wait", clicks, after-before)
	}
	best, corrected := numbered("c", clicks-1), map[int64]bool{}
	for s.HasCorrections() {
		taken := core.Take(s, most)
		if len(taken.Corrections) == 0 || len(taken.Corrections) > most {
			t.Fatalf("%d corrections in one transaction, want 1 to %d", len(taken.Corrections), most)
		}
		for _, k := range taken.Corrections {
			if corrected[k.Offset] || k.Click != best {
				t.Fatalf("corrected again, or not to the best click: %+v", k)
			}
			corrected[k.Offset] = true
		}
		if passed := taken.Position.ClicksNext[0] == clicks; passed != (len(corrected) == checkouts) ||
			taken.Position.NextOffset != checkouts {
			t.Errorf("after %d corrections the position is %+v", len(corrected), taken.Position)
		}
	}
	if len(corrected) != checkouts {
		t.Errorf("%d corrected, want all %d", len(corrected), checkouts)
	}
}

func numbered(kind string, n int) event.ID { return event.MakeID(fmt.Appendf(nil, "%s%d", kind, n)) }
