package datagen

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// batches is how many batches are made, sent or waiting for an answer at once.
	batches = 6
	// transactionTick is the least time between two transactions with a rate.
	transactionTick = 100 * time.Millisecond
)

// Run sends events until Count of them are sent or ctx ends, which is no error: it then flushes
// what is in flight. The Summary counts what Kafka has acknowledged; with an error, in whole
// batches.
func Run(ctx context.Context, cfg Config) (people Summary, err error) {
	if cfg, err = cfg.checked(); err != nil {
		return people, err
	}
	if cfg.Database != "" {
		if err := insertPeople(ctx, cfg, &people); err != nil {
			return people, unlessStopped(ctx, err)
		}
	}
	client, err := connect(ctx, cfg)
	if err != nil {
		return people, unlessStopped(ctx, err)
	}
	defer client.Close()
	partitions, err := prepareTopics(ctx, client, cfg)
	if err != nil {
		return people, unlessStopped(ctx, err)
	}
	script := newScript(cfg, partitions)
	p := newProducer(cfg, client, batches)

	beside, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	renames := &renamer{cfg: cfg}
	if cfg.Renames > 0 {
		others.Go(func() { renames.run(beside) })
	}
	begin := time.Now()
	counts := func() Summary {
		s := p.counts()
		s.Elapsed = time.Since(begin)
		return s
	}
	if cfg.Progress != nil {
		others.Go(func() { showProgress(beside, cfg.Progress, cfg.Count, counts) })
	}
	err = generate(ctx, cfg, script, p, begin)
	sum := counts()
	cancel()
	others.Wait()
	sum.Users, sum.Products, sum.Updated, sum.Renames = people.Users, people.Products, people.Updated, renames.renamed
	return sum, err
}

// unlessStopped returns nil if ctx has ended: then that has caused the error.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// generate makes batches and sends them, one goroutine each, until the count is reached or ctx
// ends, and waits for the answers.
func generate(ctx context.Context, cfg Config, s *script, p *producer, begin time.Time) error {
	// After the end of ctx what is made is still sent, for StopTimeout.
	sending, giveUp := outlasting(ctx, cfg.StopTimeout)
	defer giveUp()
	// Closing the client answers every record. The end of a context does not answer a record that
	// may be on its way.
	defer context.AfterFunc(sending, p.client.Close)()

	ready := make(chan *batch)
	var sender sync.WaitGroup
	var err error
	sender.Go(func() { p.sendCheckouts(sending) })
	sender.Go(func() {
		defer close(p.halfSent)
		for b := range ready {
			if err == nil {
				err = p.send(sending, b)
			}
			if err != nil {
				p.refuse(err)
			}
		}
	})
	making, stopMaking := context.WithCancel(ctx)
	defer stopMaking()
	go func() {
		select {
		case <-p.failed:
			stopMaking()
		case <-making.Done():
		}
	}()
	makeBatches(making, cfg, s, begin, p.free, ready)
	close(ready)
	sender.Wait()
	if err == nil {
		err = p.client.Flush(sending)
	}
	if first := p.failure(); first != nil {
		err = first
	}
	if err != nil && sending.Err() != nil {
		return fmt.Errorf("stop: records not acknowledged within %s: %w", cfg.StopTimeout, err)
	}
	return err
}

// outlasting returns a context that ends some time after ctx, or when cancel is called.
func outlasting(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		last := time.AfterFunc(by, cancel)
		context.AfterFunc(longer, func() { last.Stop() })
	})
	return longer, func() { stop(); cancel() }
}

// makeBatches draws the events that are due and hands them on.
func makeBatches(ctx context.Context, cfg Config, s *script, begin time.Time, free <-chan *batch, ready chan<- *batch) {
	next := func() *batch {
		select {
		case b := <-free:
			return b
		case <-ctx.Done():
			return nil
		}
	}
	least := tick
	if cfg.Transactional != "" {
		least = transactionTick
	}
	pace := newPace(cfg.Rate, least)
	clock := newEventClock(cfg, begin)
	for cfg.Count == 0 || s.drawn < cfg.Count {
		most := int64(maxBatch)
		if cfg.Count > 0 {
			most = min(most, cfg.Count-s.drawn)
		}
		b := next()
		if b == nil {
			return
		}
		n, err := pace.wait(ctx, most)
		if err != nil {
			return
		}
		for range n {
			s.step(b, clock.at(s.drawn))
		}
		ready <- b
	}
	for more := true; more; {
		b := next()
		if b == nil {
			return
		}
		for more = s.drain(b); more && len(b.records) < maxBatch; {
			more = s.drain(b)
		}
		ready <- b
	}
}
