package join_test

import (
	"testing"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
)

// A checkout that did not become a row must not hand a later click to the row that stands under its
// checkout_id.
func TestARejectedCheckoutCorrectsNothing(t *testing.T) {
	w := window.New(0)
	c := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second}, w)
	c.AddClicks(0, 0, event.NoTime, 0)
	at := event.Position{Watermark: noTime, FinalBefore: noTime, ExpireBefore: noTime, ClicksNext: []int64{0},
		ClicksRestore: []int64{0}}
	s, _ := c.AddShard(0, at, false)
	base := 1_800_000_000 * second
	mine, other := hasher.Key(1, []byte("p")), hasher.Key(2, []byte("p"))
	s.Fetched([]event.Checkout{
		{Offset: 0, Time: base, Key: mine, ID: event.MakeID([]byte("k")), Barrier: 1},
		// other content under the same id
		{Offset: 1, Time: base, Key: other, ID: event.MakeID([]byte("k")), Barrier: 1},
	})
	c.CheckoutsEnds([]int64{2}, 0)
	c.ClicksEnds(1, []int64{0}, nil, 0)
	released, err := c.Release(s, 10, 0)
	if len(released) != 2 || err != nil {
		t.Fatalf("released %d, %v", len(released), err)
	}
	click := func(key event.Key, offset int64, id string) {
		var r join.ClicksRead
		r.Reset(0)
		w.Insert(key, base-second, event.MakeID([]byte(id)))
		r.Next = offset + 1
		r.Add(base-second, offset)
		r.Candidates = append(r.Candidates, join.Candidate{Key: key, Time: base - second,
			ID: event.MakeID([]byte(id)), Offset: offset})
		c.Clicks(&r, 0)
	}
	click(other, 0, "before the answer of Postgres")
	c.Reject(s, 1)
	click(other, 1, "after it")
	click(mine, 2, "mine")
	if k := c.Take(s, 10).Corrections; len(k) != 1 || k[0].Offset != 0 {
		t.Errorf("corrections %+v; want the one of the row that stands", k)
	}
}
