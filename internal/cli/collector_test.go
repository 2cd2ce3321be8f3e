package cli

import (
	"context"
	"math"
	"runtime/debug"
	"testing"
	"time"
)

func TestCollectorTarget(t *testing.T) {
	const mb = 1 << 20
	for live, want := range map[uint64]int{0: 400, 1: 400, 4 * mb: 400, 8 * mb: 400, 16 * mb: 200, 32 * mb: 100,
		64 * mb: 50, 100 * mb: 32, 110 * mb: 30, 10_000 * mb: 30, math.MaxUint64: 30} {
		if got := collectorTarget(live); got != want {
			t.Errorf("of %d live bytes: %d %%, want %d %%", live, got, want)
		}
	}
}

// The target follows the heap, and no goroutine is left when the job has ended.
func TestCollectorIsTuned(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	tuning := begin(t.Context(), tuneCollector)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for debug.SetGCPercent(77) == 77 { // not set yet
		<-ticker.C
	}
	if err := tuning.end(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tuneCollector(ctx); err != nil {
		t.Error(err)
	}
}
