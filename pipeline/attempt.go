package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"firstclick/join"
	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/chunk"
	"firstclick/pipeline/engine"
	"firstclick/pipeline/ingest"
	"firstclick/pipeline/rules"
	"firstclick/pipeline/sink"
)

// attempt works from the positions in Postgres until ctx ends in good order, or something goes
// wrong. Its state in memory ends with it. alive outlives ctx: it ends the attempt at once.
func (p *Pipeline) attempt(ctx, alive context.Context) error {
	cfg := &p.cfg
	p.metrics.attempts.Inc()
	seed := rand.Uint64()
	rule := join.Config{
		Window: cfg.Window, Lateness: cfg.Lateness, OutOfOrder: cfg.OutOfOrder, MaxFutureSkew: cfg.MaxSkew, Seed: seed,
	}
	kafka, err := ingest.Connect(ctx, ingest.Config{
		Kafka: cfg.Kafka, ClicksTopic: cfg.ClicksTopic, CheckoutsTopic: cfg.CheckoutsTopic,
		Group: cfg.Group, Static: cfg.Static, Start: cfg.Start, Rule: rule, Zone: cfg.Zone,
		MemoryLimit: cfg.MemoryLimit, Registry: cfg.Registry, Logger: p.log,
	}, p.ingest)
	if err != nil {
		return err
	}
	defer kafka.Close()
	if err := p.sink.Prepare(ctx); err != nil {
		return err
	}
	group, err := p.storedGroup(ctx, kafka)
	if err != nil {
		return err
	}

	alive, die := context.WithCancel(alive)
	defer die()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	g, alive := errgroup.WithContext(alive)
	defer context.AfterFunc(alive, stop)() // an error ends the reading of checkouts too

	in, clock, hasher := engine.NewInbox(), rules.NewClock(), event.NewHasher(rand.Uint64())
	clicksWindow := window.New(seed)
	core := join.NewCore(rule, clicksWindow)
	ends := ingest.NewEnds(kafka, clock, in)
	chunks := chunk.NewPool(cfg.MemoryLimit / 32)
	clicks := &ingest.Clicks{
		Kafka: kafka, Clock: clock, Hasher: hasher, Window: clicksWindow, Core: core,
		Checker: p.sink, Payloads: p.sink.Payloads(), Taker: in,
	}
	checkouts := &ingest.Checkouts{
		Kafka: kafka, Ends: ends, Hasher: hasher, Chunks: chunks,
		Payloads: p.sink.Payloads(), Taker: in, Owned: p.ownsShards,
	}
	eng, err := engine.New(ctx, engine.Config{
		Group: group, MemoryLimit: cfg.MemoryLimit, UntilCaughtUp: cfg.UntilCaughtUp, CaughtUp: stop,
		Inbox: in, Sink: p.sink, Kafka: kafka, Ends: ends, Checkouts: checkouts, Chunks: chunks,
		Core: core, Window: clicksWindow, Clock: clock,
		Metrics: p.engine, Status: &p.status, Latest: &p.latest, Logger: p.log,
	})
	if err != nil {
		return err
	}
	if err := kafka.JoinGroup(alive, eng.Owner); err != nil {
		return err
	}
	p.inbox.Store(in)
	defer p.inbox.Store(nil)

	run := func(component func(ctx context.Context) error) { g.Go(func() error { return component(alive) }) }
	run(clicks.Run)
	run(ends.RunClicks)
	run(ends.RunCheckouts)
	run(func(ctx context.Context) error { return checkouts.Run(ctx, reading) })
	run(eng.Restorer.Run)
	for _, c := range eng.Committers {
		run(c.Run)
	}
	run(kafka.WatchGroup)
	run(kafka.WatchStarts)
	run(func(ctx context.Context) error { return p.report(ctx, kafka, in) })
	run(p.deleteOldLetters)
	run(p.showProgress)
	run(func(ctx context.Context) error {
		err := eng.Run(ctx)
		if err == nil {
			die() // the group has been left and everything is written: the others need not go on
		}
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	// The last report: no instance, and no shard in its name.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(alive), 2*time.Second)
	defer cancel()
	_, _, err = p.sink.AdvanceProgress(leaving, p.cfg.Group)
	if err == nil {
		err = p.sink.Leave(leaving)
	}
	if err != nil {
		p.log.Debug("progress not told at the end", "cause", err)
	}
	return nil
}

func (p *Pipeline) ownsShards() bool { return len(p.status.Load().Shards) > 0 }

// report writes what others look at and no row depends on, until ctx ends: every second the group's
// progress, every 5 s this instance in firstclick.instances, and the offsets in Kafka. It also
// gives the engine what is stored of all shards.
func (p *Pipeline) report(ctx context.Context, kafka *ingest.Kafka, in *engine.Inbox) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var announced time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		shards, err := p.sink.Shards(ctx, p.cfg.Group, p.cfg.CheckoutsTopic)
		if err == nil {
			in.Stored(ctx, shards)
			_, _, err = p.sink.AdvanceProgress(ctx, p.cfg.Group)
		}
		if err == nil && time.Since(announced) >= 5*time.Second {
			announced = time.Now()
			a := sink.Announcement{
				Group: p.cfg.Group, Host: host, PID: os.Getpid(), Version: p.cfg.Version, Listen: p.cfg.Listen,
			}
			clicks, checkouts := map[int32]int64{}, map[int32]int64{} // what Postgres holds
			for _, sh := range p.status.Load().Shards {
				a.Shards = append(a.Shards, sh.Partition)
				checkouts[sh.Partition] = sh.Committed
				if sh.Partition == 0 { // its owner commits the clicks' offsets too
					for p, o := range sh.ClicksCommitted {
						clicks[int32(p)] = o
					}
				}
			}
			err = p.sink.Announce(ctx, a)
			if len(checkouts) > 0 {
				kafka.CommitOffsets(ctx, clicks, checkouts)
			}
		}
		if err != nil && ctx.Err() == nil {
			p.log.Debug("progress not told", "cause", err) // the sink logs what is wrong with Postgres
		}
	}
}

// deleteOldLetters deletes dead letters that are older than the configuration keeps them, every 10
// minutes until ctx ends.
func (p *Pipeline) deleteOldLetters(ctx context.Context) error {
	if p.cfg.Retention == 0 {
		return nil
	}
	return rules.Every(ctx, 10*time.Minute, func() error {
		n, err := p.sink.ForgetLetters(ctx, p.cfg.Group, p.cfg.Retention)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			p.log.Warn("old dead letters are not deleted; the role needs: GRANT DELETE ON firstclick.dead_letters",
				"cause", err)
		case n > 0:
			p.log.Info("old dead letters deleted", "letters", n, "older_than_seconds", p.cfg.Retention.Seconds())
		}
		return nil
	})
}
