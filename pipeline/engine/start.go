package engine

import (
	"context"
	"fmt"
	"time"

	"firstclick/join/event"
	"firstclick/pipeline/ending"
)

// New makes an engine that goes on from the stored positions, and begins the reading of clicks at
// the least restore point of the group's shards.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	e := &Engine{
		Config: cfg, shards: shards{},
		pressure: backpressure{cfg.Kafka, cfg.Group, cfg.MemoryLimit, map[int32]bool{}, map[int32]bool{}},
		work:     make(chan *commitSet, committers), idle: committers,
		begin: stored{group: cfg.Group}, stored: stored{group: cfg.Group},
		status: status{clicksAtEnd: map[int32]time.Time{}},
	}
	e.Owner = &Owner{&e.Config}
	e.Restorer = &Restorer{e, make(chan *restore)}
	for range committers {
		e.Committers = append(e.Committers, &Committer{e})
	}
	if _, err := e.Owner.takeBack(ctx); err != nil {
		return nil, fmt.Errorf("take back times that lie ahead of every clock: %w", err)
	}
	var err error
	if e.begin.shards, err = e.Sink.Shards(ctx, e.Group.Group, e.Group.CheckoutsTopic); err != nil {
		return nil, fmt.Errorf("read the stored offsets: %w", err)
	}
	starts, err := e.Kafka.Starts(ctx)
	if err != nil {
		return nil, err
	}
	if e.UntilCaughtUp { // else a partition without a leader need not be waited for
		if e.targets.clicks, e.targets.checkouts, err = e.Kafka.StableEnds(ctx); err != nil {
			return nil, err
		}
	}

	e.setClock()
	from, fresh := make([]int64, len(starts)), make([]int64, len(starts))
	for p, start := range starts {
		restore, next := e.begin.clicks(p)
		lostUntil := event.NoTime
		if restore < start { // retention deleted clicks: a gap if one was not read, else its checkouts decide
			if next < start {
				return nil, ending.NeverRead(e.Group.ClicksTopic, int32(p), next, start)
			}
			lostUntil = e.begin.latestClick(p)
		}
		from[p], fresh[p] = max(restore, start), next
		e.Core.AddClicks(int32(p), from[p], lostUntil, e.Clock.Now())
	}
	epochs, next := e.begin.lastRead(len(starts))
	if err := e.Kafka.CheckTruncated(ctx, epochs, next); err != nil {
		return nil, err
	}
	e.Core.StoredByAll(e.begin.final(), fresh)
	for p := range starts {
		e.Kafka.ReadClicks(int32(p), from[p], fresh[p])
	}
	return e, nil
}
