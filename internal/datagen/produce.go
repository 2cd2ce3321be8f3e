package datagen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer sends batches. One goroutine calls send, one sendCheckouts; answers come from goroutines
// of the client.
type producer struct {
	cfg    Config
	client *kgo.Client
	names  [topics]string
	coin   *source // which transactions are aborted

	free     chan *batch // batches that have been answered
	halfSent chan *batch // batches whose clicks are sent, and whose checkouts wait for them

	mu     sync.Mutex
	tally  *tally
	err    error         // the first refusal
	failed chan struct{} // closed with err
}

func newProducer(cfg Config, client *kgo.Client, batches int) *producer {
	p := &producer{
		cfg: cfg, client: client, names: [topics]string{cfg.ClicksTopic, cfg.CheckoutsTopic},
		coin: newSource(cfg.Seed, streamTransactions), tally: newTally(cfg), failed: make(chan struct{}),
		free: make(chan *batch, batches), halfSent: make(chan *batch, batches),
	}
	for range batches {
		p.free <- &batch{}
	}
	return p
}

// send produces a batch: first its clicks, and once they are acknowledged its checkouts (see
// sendCheckouts). It waits for answers only at the end of a transaction.
func (p *producer) send(ctx context.Context, b *batch) error {
	switch {
	case len(b.records) == 0:
		p.free <- b
		return nil
	case p.cfg.Transactional != "":
		b.prepare(p.names)
		return p.transact(ctx, b)
	}
	b.prepare(p.names)
	if p.cfg.Unordered {
		p.produce(ctx, b, clicks, checkouts)
		p.answered(b, nil)
		return nil
	}
	p.produce(ctx, b, clicks)
	p.halfSent <- b
	return nil
}

// sendCheckouts produces the checkouts of each batch once its clicks are acknowledged. The clicks
// of the next batches do not wait, so that the pace does not depend on the time of an
// acknowledgement.
func (p *producer) sendCheckouts(ctx context.Context) {
	for b := range p.halfSent {
		b.answers.Wait() // every record is answered, at the latest when the client is closed
		if p.failure() == nil {
			p.produce(ctx, b, checkouts)
		}
		p.answered(b, nil)
	}
}

// produce hands the records of some topics to the client, in their order.
func (p *producer) produce(ctx context.Context, b *batch, which ...topic) {
	answered := func(_ *kgo.Record, err error) {
		p.answered(b, err)
		b.answers.Done()
	}
	for i := range b.records {
		if slices.Contains(which, b.records[i].topic) {
			b.answers.Add(1)
			p.client.Produce(ctx, &b.out[i], answered)
		}
	}
}

// answered takes the answer to one record, or the end of sending. The last one counts the batch and
// frees it. A batch with an error is never counted and never used again.
func (p *producer) answered(b *batch, err error) {
	if err != nil {
		p.refuse(fmt.Errorf("produce: %w", err))
		return
	}
	if b.waiting.Add(-1) == 0 {
		p.finish(b, func(t *tally) { t.add(b) })
	}
}

// finish counts a batch and frees it.
func (p *producer) finish(b *batch, count func(*tally)) {
	p.mu.Lock()
	count(p.tally)
	p.mu.Unlock()
	b.reset()
	p.free <- b
}

// transact produces a batch in a transaction and ends it.
func (p *producer) transact(ctx context.Context, b *batch) error {
	if err := p.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	for t := range topics {
		p.produce(ctx, b, t)
		b.answers.Wait()
		if err := p.failure(); err != nil {
			return errors.Join(err, p.client.EndTransaction(context.WithoutCancel(ctx), kgo.TryAbort))
		}
	}
	commit := kgo.TransactionEndTry(!p.coin.share(p.cfg.Aborted))
	if err := p.client.EndTransaction(ctx, commit); err != nil {
		return fmt.Errorf("end transaction: %w", err)
	}
	p.finish(b, func(t *tally) {
		if commit == kgo.TryCommit {
			t.add(b)
			t.sum.Transactions++
		} else {
			t.sum.TransactionsAborted++
			t.sum.RecordsAborted += int64(len(b.records))
		}
	})
	return nil
}

// refuse keeps the first error.
func (p *producer) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.failed)
	}
}

func (p *producer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// counts returns the summary so far.
func (p *producer) counts() Summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.tally.sum
	s.Poison, s.DeadLetters = maps.Clone(s.Poison), maps.Clone(s.DeadLetters)
	return s
}
