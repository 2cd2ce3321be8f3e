package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector's target, in per cent of what is live. The window and the recent checkouts hold next to no pointers, so a collection of a
// large heap costs little, and half of the memory is worth more than the few per cent of CPU. Over a small heap the same target would have it
// run all the time, and take a core from live rows many times a second: there the heap may grow by headroom first.
const (
	collectAt  = 30
	headroom   = 32 << 20
	mostAt     = 400 // Go's least heap grows with the target: 4 MiB at 100
	lookAtHeap = 50 * time.Millisecond
)

// collectorTarget is the target for a heap of which so many bytes are live.
func collectorTarget(live uint64) int {
	if live == 0 { // nothing was collected yet
		return mostAt
	}
	return int(min(max(headroom*100/live, collectAt), mostAt))
}

// tuneCollector keeps the target until ctx ends.
func tuneCollector(ctx context.Context) error {
	ticker := time.NewTicker(lookAtHeap)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for last := -1; ; {
		metrics.Read(sample)
		// Setting it stops the world for a moment.
		if target := collectorTarget(sample[0].Value.Uint64()); last < 0 || target*10 < last*9 || target*9 > last*10 {
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
