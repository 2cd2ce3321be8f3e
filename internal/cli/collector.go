package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector's target, in per cent of the live heap. The window and the open checkouts
// hold next to no pointers, so that to collect a large heap costs little, and half of the memory is
// worth more than a few per cent of CPU. With the same target a small heap would be collected many
// times a second: it may grow by headroom first.
const (
	collectAt  = 30
	headroom   = 32 << 20 // bytes
	mostAt     = 400      // Go's least heap grows with the target: 4 MiB at 100
	lookAtHeap = 50 * time.Millisecond
)

// collectorTarget returns the target for a live heap of so many bytes; 0: nothing was collected
// yet.
func collectorTarget(live uint64) int {
	if live == 0 {
		return mostAt
	}
	return int(min(max(headroom*100/live, collectAt), mostAt))
}

// tuneCollector adjusts the target until ctx ends.
func tuneCollector(ctx context.Context) error {
	ticker := time.NewTicker(lookAtHeap)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for last := -1; ; {
		metrics.Read(sample)
		target := collectorTarget(sample[0].Value.Uint64())
		if last < 0 || target*10 < last*9 || target*9 > last*10 { // to set it stops the world
			debug.SetGCPercent(target)
			last = target
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
