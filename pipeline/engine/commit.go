package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"firstclick/pipeline/ending"
	"firstclick/pipeline/sink"
)

// committers is how many transactions may be in flight at once.
const committers = 2

// Committer writes one commit set after another.
type Committer struct{ e *Engine }

// Run commits until ctx ends.
func (c *Committer) Run(ctx context.Context) error {
	e := c.e
	for {
		var set *commitSet
		select {
		case <-ctx.Done():
			return nil
		case set = <-e.work:
		}
		began := time.Now()
		stop := e.Metrics.Committing.Start()
		result, err := e.Sink.Commit(ctx, set.batches)
		for i, sh := range set.shards {
			if err != nil || !set.handBack[i] {
				continue
			}
			if err := e.Sink.Release(ctx, &sh.claim); err != nil {
				sh.log.Warn("shard's row not handed back; the next owner will end our sessions",
					"offset", set.batches[i].Position.NextOffset, "cause", err)
			}
		}
		stop()
		var lost *sink.LostShardsError
		switch {
		case err == nil:
			e.Latest.written(set.batches)
			e.Metrics.committed(e.Group.CheckoutsTopic, set.batches, &result, time.Since(began))
		case errors.As(err, &lost):
			err = &ending.RestartError{Cause: err, Fenced: len(lost.Fenced) > 0}
		default:
			err = fmt.Errorf("write to Postgres: %w", err)
		}
		if !send(ctx, e.Inbox.committed, &commitResult{set, err}) {
			return nil
		}
	}
}
