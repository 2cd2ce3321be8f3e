package join

import (
	"slices"
	"testing"
	"time"

	"firstclick/join/event"
	"firstclick/join/window"
)

// Clicks that come while a transaction finds that the first one is refused were held against that
// one. They are asserted with the next transaction, and nothing is asserted where none came.
func TestClicksMeanwhileAreAsserted(t *testing.T) {
	w := window.New(0)
	c := NewCore(Config{Window: time.Hour, Lateness: time.Minute, OutOfOrder: time.Second}, w)
	at := event.Position{Watermark: event.NoTime, FinalBefore: event.NoTime, ExpireBefore: event.NoTime}
	s, _ := c.AddShard(0, at, false)
	key, base := event.Key{Hi: 1, Lo: 1}, int64(1000*60_000_000)
	click := func(n int64) event.ClickAt { return event.ClickAt{Time: base + n, ID: event.MakeID([]byte("c"))} }
	for _, n := range []int64{1, 2, 5} {
		w.Insert(key, click(n).Time, click(n).ID)
	}
	refusal := &event.Refusal{Offset: 3, Key: key, Time: base + 10, Tried: []event.ClickAt{click(1), click(2)},
		Took: click(5), HasClick: true}
	c.Refused(s, refusal)
	if len(s.Corrections) != 0 {
		t.Errorf("%+v: nothing came meanwhile", s.Corrections)
	}
	w.Insert(key, click(6).Time, click(6).ID) // worse than what the row has
	c.Refused(s, refusal)
	if len(s.Corrections) != 0 {
		t.Errorf("%+v: what came is worse", s.Corrections)
	}
	w.Insert(key, click(4).Time, click(4).ID)
	c.Refused(s, refusal)
	want := []event.Correction{{Offset: 3, Key: key, Time: base + 10, Click: click(1).ID, ClickTime: click(1).Time}}
	if !slices.Equal(s.Corrections, want) {
		t.Errorf("%+v, want %+v", s.Corrections, want)
	}
	s.Corrections = nil
	refusal.Tried, refusal.HasClick = append(refusal.Tried, click(4), click(5), click(6)), false
	c.Refused(s, refusal)
	if len(s.Corrections) != 0 {
		t.Errorf("%+v: all were tried", s.Corrections)
	}
}
