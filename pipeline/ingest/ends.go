package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"firstclick/pipeline/ending"
	"firstclick/pipeline/rules"
)

// endsTaker takes the end offsets. Its methods wait until they are taken, or ctx ends.
type endsTaker interface {
	// Ends are those of all clicks partitions, of a request that began at a time of the attempt's
	// clock. stable are the last stable offsets, nil where they were not requested. checkouts is
	// the number of checkouts partitions.
	Ends(ctx context.Context, request uint64, began int64, clicks, stable []int64, checkouts int)
	// CheckoutEnds are those of the checkouts partitions, unknownOffset where there was no answer.
	CheckoutEnds(ctx context.Context, began int64, ends []int64)
}

// Ends requests the end offsets of both topics: at once when a checkout waits, else once in a while
// for the watermark, the lag and new partitions.
//
// Invariant (docs/architecture.md#promise-2-no-false-nulls): a request whose number is at least the
// Barrier of a checkout began after that checkout had been fetched. A checkout needs the ends of
// all clicks partitions. The ends of the checkouts partitions are requested separately: one without
// a leader concerns its own shard only.
type Ends struct {
	kafka *Kafka
	clock rules.Clock
	taker endsTaker

	requests      atomic.Uint64 // begun so far
	stable        atomic.Bool   // also request last stable offsets
	clicks        Topic         // with the partitions that the last request found
	known         atomic.Int32  // partitions of checkouts
	wakeClicks    chan struct{}
	wakeCheckouts chan struct{}
}

const (
	idleEnds   = 500 * time.Millisecond // between requests while no checkout waits
	answerTime = 10 * time.Second       // for all answers of a request
)

// NewEnds makes Ends.
func NewEnds(k *Kafka, clock rules.Clock, taker endsTaker) *Ends {
	e := &Ends{kafka: k, clock: clock, taker: taker, clicks: k.Clicks,
		wakeClicks: make(chan struct{}, 1), wakeCheckouts: make(chan struct{}, 1)}
	e.known.Store(k.Checkouts.Partitions)
	return e
}

// Barrier is the number of the first request that begins after this call.
func (e *Ends) Barrier() uint64 {
	if !rules.Barrier() {
		return 0
	}
	return e.requests.Load() + 1
}

// Wake lets the next requests begin now.
func (e *Ends) Wake() {
	wake(e.wakeClicks)
	wake(e.wakeCheckouts)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// RequestStable says whether last stable offsets are requested too.
func (e *Ends) RequestStable(on bool) { e.stable.Store(on) }

// RunClicks requests the ends of the clicks partitions until ctx ends.
func (e *Ends) RunClicks(ctx context.Context) error {
	return e.repeat(ctx, clicksEnds, e.wakeClicks, e.requestClicks, func(cause error) {
		e.kafka.log.Warn("can't learn where the clicks end: checkouts wait", "cause", cause)
	})
}

// RunCheckouts requests the ends of the checkouts partitions until ctx ends.
func (e *Ends) RunCheckouts(ctx context.Context) error {
	return e.repeat(ctx, checkoutsEnds, e.wakeCheckouts, e.requestCheckouts, func(cause error) {
		e.kafka.log.Warn("can't learn where a checkouts partition ends: the others go on", "cause", cause)
	})
}

// repeat calls request whenever woken, and once in a while. It logs once what goes wrong, and when
// that is over.
func (e *Ends) repeat(ctx context.Context, client string, woken chan struct{}, request func(ctx context.Context) error,
	warn func(cause error)) error {
	idle := time.NewTicker(idleEnds)
	defer idle.Stop()
	logged := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		case <-idle.C:
		}
		err := request(ctx)
		if ctx.Err() != nil {
			return nil
		}
		e.kafka.Refusals.note(client, err, time.Now())
		var gap *ending.GapError
		switch refused := e.kafka.Refusals.Err(); {
		case errors.As(err, &gap):
			return err
		case refused != nil:
			return refused
		case err != nil:
			if logged != err.Error() {
				warn(err)
				logged = err.Error()
			}
			if pause(ctx, 200*time.Millisecond) != nil {
				return nil
			}
			wake(woken)
		case logged != "":
			e.kafka.log.Info("Kafka answers again")
			logged = ""
		}
	}
}

// requestClicks requests fresh metadata and, at the same time, the ends of the partitions known so
// far; where the metadata show more partitions, the ends again.
func (e *Ends) requestClicks(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, began := e.requests.Add(1), e.clock.Now()
	early, stop := context.WithCancel(waiting)
	defer stop()
	type answer struct {
		ends, stable []int64
		err          error
	}
	answered := make(chan answer, 1)
	list := func(ctx context.Context, t Topic) (a answer) {
		a.ends, a.err = e.kafka.offsets(ctx, t, atEnd)
		if a.err == nil && e.stable.Load() {
			a.stable, a.err = listOffsets(ctx, e.kafka.admin(), t, atEnd, true)
		}
		return a
	}
	topic := e.clicks
	go func() { answered <- list(early, topic) }()
	clicks, checkouts, err := e.kafka.sizes(waiting)
	if err != nil {
		stop()
	}
	a := <-answered
	if err != nil {
		return err // what happened to the topics explains why their ends did not come
	}
	// Invariant: a partition that was once known is requested, though a broker may not know it yet.
	if clicks > e.clicks.Partitions {
		e.clicks.Partitions = clicks
		a = list(waiting, e.clicks)
	}
	e.known.Store(max(checkouts, e.known.Load()))
	if a.err != nil {
		return a.err
	}
	e.taker.Ends(ctx, request, began, a.ends, a.stable, int(e.known.Load()))
	return nil
}

// requestCheckouts passes on the ends that came, though others did not.
func (e *Ends) requestCheckouts(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	topic, began := e.kafka.Checkouts, e.clock.Now()
	topic.Partitions = e.known.Load()
	ends, _, err := tryOffsets(waiting, e.kafka.admin(), topic, atEnd, false)
	if ctx.Err() == nil {
		e.taker.CheckoutEnds(ctx, began, ends)
	}
	return err
}
