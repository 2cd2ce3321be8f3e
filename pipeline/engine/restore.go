package engine

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"firstclick/pipeline/chunk"
	"firstclick/pipeline/rules"
)

// checkoutsReader reads checkouts again. The chunks belong to the receiver.
type checkoutsReader interface {
	Again(ctx context.Context, partition int32, from, to int64, most int) iter.Seq2[*chunk.Chunk, error]
	// WaitingTimes gives, by partition, the median event time of the first checkouts from an offset
	// on.
	WaitingTimes(ctx context.Context, from map[int32]int64) (map[int32]int64, error)
}

// maxRestored is how many restored corrections of one shard may wait. Past it reading waits.
const maxRestored = 4_096

// restore is the checkouts [from, to) of a shard that an earlier owner released and left not final.
// They are read again in the background: new rows do not wait for them.
type restore struct {
	sh       *shard
	from, to int64
	ctx      context.Context // nil: not begun
	cancel   context.CancelFunc
}

// restored is checkouts that were read again for a shard.
type restored struct {
	sh   *shard
	read *chunk.Chunk // nil: that was all
}

// Restorer reads the checkouts that the engine wants restored.
type Restorer struct {
	e        *Engine
	requests chan *restore
}

// Run serves requests until ctx ends.
func (r *Restorer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case request := <-r.requests:
			g.Go(func() error {
				defer request.cancel()
				defer context.AfterFunc(ctx, request.cancel)() // an error of another one ends all
				if err := r.restore(request); request.ctx.Err() == nil {
					return err
				}
				return nil
			})
		}
	}
}

func (r *Restorer) restore(request *restore) error {
	e, ctx, sh := r.e, request.ctx, request.sh
	rejected, err := e.Sink.Rejected(ctx, &sh.claim, sh.topicID, request.from, request.to)
	if err != nil {
		return fmt.Errorf("read which checkouts of partition %d were refused: %w", sh.Partition, err)
	}
	for read, err := range e.Checkouts.Again(ctx, sh.Partition, request.from, request.to, maxRestored/2) {
		if err != nil {
			return err
		}
		for i := range read.Checkouts {
			if k := &read.Checkouts[i]; rejected[k.Offset] {
				k.Skip = true
			}
		}
		send(ctx, e.Inbox.restored, restored{sh, read})
	}
	send(ctx, e.Inbox.restored, restored{sh, nil})
	return nil
}

// takeRestored takes in checkouts that were read again.
func (e *Engine) takeRestored(m restored) {
	sh := m.sh
	if m.read != nil {
		defer e.Chunks.Put(m.read)
	}
	switch {
	case e.shards[sh.Partition] != sh: // dropped meanwhile
	case m.read == nil:
		e.Core.RestoreDone(sh.Shard)
		sh.restore = nil
		n, _ := sh.Open()
		sh.log.Info("open checkouts restored", "checkouts", n)
	default:
		before := len(sh.Corrections)
		e.setClock()
		for _, k := range e.Core.Restore(sh.Shard, m.read.Checkouts) {
			sh.late(e.lateCheckout(sh, k))
		}
		if !rules.Restore() {
			sh.Corrections = sh.Corrections[:before]
		}
	}
}
