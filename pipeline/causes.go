package pipeline

import (
	"context"
	"sync"
	"time"

	"firstclick/join"
	"firstclick/pipeline/sink"
)

// stopwatch adds up the wall time in which at least one of something is under way, that one included. So it also tells of what
// hangs, which a sum of finished ones does not. Safe for concurrent use.
type stopwatch struct {
	mu      sync.Mutex
	running int
	since   time.Time
	sum     time.Duration
}

func (w *stopwatch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == 0 {
		w.since = time.Now()
	}
	w.running++
}

func (w *stopwatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	if w.running == 0 {
		w.sum += time.Since(w.since)
	}
}

func (w *stopwatch) total() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running > 0 {
		return w.sum + time.Since(w.since)
	}
	return w.sum
}

// timedNames knows how long names are waited for.
type timedNames struct {
	names sink.Names
	watch *stopwatch
}

func (n timedNames) Names(ctx context.Context, ids []int32, names map[int32]string) (edition string, err error) {
	n.watch.start()
	defer n.watch.stop()
	return n.names.Names(ctx, ids, names)
}

func (n timedNames) Outdated(edition string) { n.names.Outdated(edition) }

// DelayStats adds up the time from a checkout's record timestamp to the end of the transaction that holds it, over the fresh and
// repeated rows of this pipeline whose records have a timestamp. Rows of a backlog count too: take differences.
type DelayStats struct {
	Rows  int64
	Total time.Duration
}

func (d *DelayStats) add(batches []*sink.Batch, landed time.Time) {
	now := landed.UnixMicro()
	for _, b := range batches {
		for i := range b.Rows {
			if t := b.Rows[i].RecordTime; t != join.NoTime {
				d.Rows++
				d.Total += time.Duration(max(now-t, 0)) * time.Microsecond
			}
		}
	}
}
