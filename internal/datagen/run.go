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
	// transactionTick is the least time between two transactions, where events are due more often than that.
	transactionTick = 100 * time.Millisecond
)

func run(ctx context.Context, cfg Config) (Summary, error) {
	people := Summary{}
	if cfg.Database != "" {
		if err := insertPeople(ctx, cfg, &people); err != nil {
			return people, stopped(ctx, err)
		}
	}
	client, err := connect(ctx, cfg)
	if err != nil {
		return people, stopped(ctx, err)
	}
	defer client.Close()
	partitions, err := prepareTopics(ctx, client, cfg)
	if err != nil {
		return people, stopped(ctx, err)
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

// stopped turns what a cancelled ctx has caused into no error.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// generate makes batches and sends them, one goroutine each, until the count is reached or ctx ends, and waits for the answers.
func generate(ctx context.Context, cfg Config, s *script, p *producer, begin time.Time) error {
	// What is made is sent also after ctx has ended, but not for ever.
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	grace := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(cfg.StopTimeout, func() {
			giveUp()
			p.client.Close() // answers every record: the end of a context does not, for one that may be on its way
		})
		context.AfterFunc(sending, func() { t.Stop() })
	})
	defer grace()

	ready := make(chan *batch)
	sent := make(chan error, 1)
	var following sync.WaitGroup
	following.Go(func() { p.follow(sending) })
	go func() {
		var err error
		defer close(p.halved)
		for b := range ready {
			if err == nil {
				err = p.send(sending, b)
			}
			if err != nil {
				p.refuse(err)
			}
		}
		sent <- err
	}()
	making, stopMaking := context.WithCancel(ctx)
	defer stopMaking()
	go func() {
		select {
		case <-p.fail:
			stopMaking()
		case <-making.Done():
		}
	}()
	makeBatches(making, cfg, s, begin, p.free, ready)
	close(ready)
	err := <-sent
	following.Wait()
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

// makeBatches draws the events that are due and hands them on.
func makeBatches(ctx context.Context, cfg Config, s *script, begin time.Time, free <-chan *batch, ready chan<- *batch) {
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
		b := take(ctx, free)
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
		b := take(ctx, free)
		if b == nil {
			return
		}
		for more = s.drain(b); more && len(b.records) < maxBatch; {
			more = s.drain(b)
		}
		ready <- b
	}
}

func take(ctx context.Context, free <-chan *batch) *batch {
	select {
	case b := <-free:
		return b
	case <-ctx.Done():
		return nil
	}
}

// eventClock gives the time of each event.
type eventClock struct {
	start, step float64
	wall        func() int64 // without a step
}

func newEventClock(cfg Config, begin time.Time) eventClock {
	start := cfg.start(begin)
	c := eventClock{start: float64(start), step: cfg.step()}
	if c.step == 0 {
		c.wall = func() int64 { return start + int64(float64(time.Since(begin).Microseconds())*cfg.Speed) }
	}
	return c
}

// at is the time of event number n, in microseconds.
func (c eventClock) at(n int64) int64 {
	if c.wall != nil {
		return c.wall()
	}
	// float64(): no fused multiply-add, so that every machine gets the same times. Microseconds since 1970 are below 2^53 until 2255.
	return int64(c.start + float64(float64(n)*c.step))
}
