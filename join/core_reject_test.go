package join_test

import (
	"testing"
	"time"

	"firstclick/join"
)

// A checkout that did not become a row must not hand a later click to the row that stands under its checkout_id.
func TestARejectedCheckoutCorrectsNothing(t *testing.T) {
	w := join.NewWindow(join.WindowConfig{})
	c := join.NewCore(join.Config{Window: time.Hour, Lateness: 15 * time.Minute, OutOfOrder: 15 * time.Second}, w)
	c.AddClicks(0, 0, join.NoTime, 0)
	at := join.Position{Watermark: noTime, FinalBefore: noTime, ExpireBefore: noTime, ClicksNext: []int64{0}, ClicksRestore: []int64{0}}
	s := c.AddShard(0, at, false, func(*join.Shard, int32, *join.Candidate) {})
	base := 1_800_000_000 * second
	mine, other := hasher.Key(1, []byte("p")), hasher.Key(2, []byte("p"))
	s.Fetched([]join.Pending{
		{Offset: 0, Time: base, Key: mine, ID: join.MakeID([]byte("k")), Need: 1},
		{Offset: 1, Time: base, Key: other, ID: join.MakeID([]byte("k")), Need: 1}, // other content under the same id
	})
	c.CheckoutEnds([]int64{2}, 0)
	c.Ends(1, []int64{0}, nil, 0)
	n, err := c.Release(s, 10, 0, func(*join.Pending, *join.Recent, bool) {})
	if n != 2 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	click := func(key join.Key, offset int64, id string) {
		var r join.ClicksRead
		r.Reset(0)
		w.Insert(key, base-second, join.MakeID([]byte(id)))
		r.Next = offset + 1
		r.Note(base-second, offset)
		r.Candidates = append(r.Candidates, join.Candidate{Key: key, Time: base - second, ID: join.MakeID([]byte(id)), Offset: offset})
		c.Clicks(&r, 0, func(*join.Shard, int32, *join.Candidate) {})
	}
	click(other, 0, "before the answer of Postgres")
	c.Reject(s, 1)
	click(other, 1, "after it")
	click(mine, 2, "mine")
	if k := c.Take(s, 10).Corrections; len(k) != 1 || k[0].Offset != 0 {
		t.Errorf("corrections %+v; want the one of the row that stands", k)
	}
}
