package engine

import (
	"slices"
	"testing"
	"time"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// waiting is an engine whose shards have so many rows in their batches and had their last turn so
// long ago.
func waiting(rows []int, ago []time.Duration) *Engine {
	e := idleEngine()
	for i, n := range rows {
		p := int32(i)
		e.shards[p] = &shard{Shard: &join.Shard{Partition: p}, batch: &sink.Batch{Rows: make([]event.Released, n)},
			turn: time.Now().Add(-ago[i])}
	}
	return e
}

// A shard that has waited long goes first, else the fullest, until there are enough rows.
func TestTurns(t *testing.T) {
	for name, c := range map[string]struct {
		rows []int
		ago  []time.Duration
		want []int32
	}{
		"the fullest":            {[]int{10, 8192, 500}, []time.Duration{0, 0, 0}, []int32{1}},
		"until there is enough":  {[]int{300, 5000, 6000}, []time.Duration{0, 0, 0}, []int32{2, 1}},
		"a small one in a crowd": {[]int{8191, 8192, 1}, []time.Duration{0, 0, time.Second}, []int32{2, 1}},
		"the longest wait first": {[]int{7000, 7000, 7000},
			[]time.Duration{time.Second, 3 * time.Second, 2 * time.Second}, []int32{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int32
			for _, sh := range waiting(c.rows, c.ago).ready() {
				got = append(got, sh.Partition)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("shards %v, want %v", got, c.want)
			}
		})
	}
}

// Batches hold a few transactions' worth of rows, however many shards there are.
func TestShare(t *testing.T) {
	for busy, want := range map[int]int{0: maxRows, 1: maxRows, 4: maxRows, 8: 4096, 64: 512, 1000: 256} {
		if got := waiting(slices.Repeat([]int{1}, busy), make([]time.Duration, busy)).shards.share(); got != want {
			t.Errorf("%d shards have %d rows each, want %d", busy, got, want)
		}
	}
	if got := waiting([]int{1, 0, 0, 0, 0, 0, 0, 0}, make([]time.Duration, 8)).shards.share(); got != maxRows {
		t.Errorf("one busy shard of eight has %d rows, want %d", got, maxRows)
	}
}
