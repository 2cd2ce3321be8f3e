package datagen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer sends batches. One goroutine calls send; answers come from the client's goroutines.
type producer struct {
	cfg    Config
	client *kgo.Client
	names  [topics]string
	coin   *source // which transactions are aborted

	free   chan *batch // batches that have been answered
	halved chan *batch // batches whose clicks are on their way and whose checkouts wait for them

	mu    sync.Mutex
	tally *tally
	err   error         // the first refusal
	fail  chan struct{} // closed with err
}

func newProducer(cfg Config, client *kgo.Client, batches int) *producer {
	p := &producer{
		cfg:    cfg,
		client: client,
		names:  [topics]string{cfg.ClicksTopic, cfg.CheckoutsTopic},
		coin:   newSource(cfg.Seed, streamTransactions),
		free:   make(chan *batch, batches),
		halved: make(chan *batch, batches),
		tally:  newTally(cfg),
		fail:   make(chan struct{}),
	}
	for range batches {
		p.free <- &batch{}
	}
	return p
}

// send produces a batch: its clicks first and, when they are acknowledged, its checkouts (see follow). It waits for answers only
// where they end a transaction. ctx ends only when the time to stop in good order has run out.
func (p *producer) send(ctx context.Context, b *batch) error {
	if len(b.records) == 0 {
		p.free <- b
		return nil
	}
	b.prepare(p.names)
	if p.cfg.Transactional != "" {
		return p.transact(ctx, b)
	}
	if p.cfg.Unordered {
		p.produce(ctx, b, nil, clicks, checkouts)
		p.release(b)
		return nil
	}
	p.produce(ctx, b, &b.clicks, clicks)
	p.halved <- b
	return nil
}

// follow produces the checkouts of each halved batch when its clicks are acknowledged, until there are no more. The clicks of the next
// batches do not wait for that, so that the pace does not depend on how long an acknowledgement takes.
func (p *producer) follow(ctx context.Context) {
	for b := range p.halved {
		b.clicks.Wait() // every record is answered, at the latest when the client is closed
		if p.failure() == nil {
			p.produce(ctx, b, nil, checkouts)
		}
		p.release(b)
	}
}

// produceAndWait produces the batch's records of some topics and waits until every one is acknowledged.
func (p *producer) produceAndWait(ctx context.Context, b *batch, which ...topic) error {
	var acked sync.WaitGroup
	p.produce(ctx, b, &acked, which...)
	acked.Wait() // every record is answered, at the latest when the client is closed
	return p.failure()
}

// produce hands the batch's records of some topics to the client, in their order.
func (p *producer) produce(ctx context.Context, b *batch, acked *sync.WaitGroup, which ...topic) {
	answered := func(_ *kgo.Record, err error) {
		p.answer(b, err)
		if acked != nil {
			acked.Done()
		}
	}
	var wanted [topics]bool
	for _, t := range which {
		wanted[t] = true
	}
	for i := range b.records {
		if !wanted[b.records[i].topic] {
			continue
		}
		if acked != nil {
			acked.Add(1)
		}
		p.client.Produce(ctx, &b.out[i], answered)
	}
}

// answer takes one record's answer.
func (p *producer) answer(b *batch, err error) {
	if err != nil {
		p.refuse(fmt.Errorf("produce: %w", err))
		return // the batch is never counted and never used again
	}
	p.release(b)
}

// release lets go of the batch for one of its records, or for the sender. Whoever is last counts it and frees it.
func (p *producer) release(b *batch) {
	if b.waiting.Add(-1) != 0 {
		return
	}
	p.mu.Lock()
	p.tally.add(b)
	p.mu.Unlock()
	b.reset()
	p.free <- b
}

// transact produces a batch in a transaction and ends it. The sender's hold on the batch lasts until then.
func (p *producer) transact(ctx context.Context, b *batch) error {
	if err := p.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	for _, t := range []topic{clicks, checkouts} {
		if err := p.produceAndWait(ctx, b, t); err != nil {
			end := p.client.EndTransaction(context.WithoutCancel(ctx), kgo.TryAbort)
			return errors.Join(err, end)
		}
	}
	commit := kgo.TransactionEndTry(!p.coin.share(p.cfg.Aborted))
	if err := p.client.EndTransaction(ctx, commit); err != nil {
		return fmt.Errorf("end transaction: %w", err)
	}
	p.mu.Lock()
	if commit == kgo.TryCommit {
		p.tally.add(b)
		p.tally.sum.Transactions++
	} else {
		p.tally.sum.TransactionsAborted++
		p.tally.sum.RecordsAborted += int64(len(b.records))
	}
	p.mu.Unlock()
	b.reset()
	p.free <- b
	return nil
}

// refuse keeps the first error.
func (p *producer) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.fail)
	}
}

func (p *producer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// counts is the summary so far.
func (p *producer) counts() Summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.tally.sum
	s.Poison, s.DeadLetters = maps.Clone(s.Poison), maps.Clone(s.DeadLetters)
	return s
}
