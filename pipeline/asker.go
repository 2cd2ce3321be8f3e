package pipeline

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// asker asks where the partitions end: at once when a checkout waits, else once in a while, for the watermark, the lag and new
// partitions. Invariant (promise 2): an ask numbered n was begun after everything that was told to need n had been fetched.
//
// A checkout needs the ends of all clicks partitions, and no end of the checkouts partitions: those are asked for aside, and one without leader is its
// own shard's matter.
type asker struct {
	s       *session
	started atomic.Uint64
	wake    chan struct{}
	aside   chan struct{}    // wakes the one who asks for the checkouts' ends
	stable  atomic.Bool      // ask for last stable offsets too
	sizes   map[string]int32 // partitions that the last ask has found
	known   atomic.Int32     // of the checkouts topic
}

// idleAsk is how often ends are asked for while no checkout waits.
const idleAsk = 500 * time.Millisecond

type endsMsg struct {
	gen            uint64
	asked          int64 // when it was begun, by the session's clock
	clicks, stable []int64
	checkouts      int // partitions
}

// checkoutEndsMsg holds the ends of the checkouts partitions; unknownOffset where there was no answer.
type checkoutEndsMsg struct {
	asked int64 // as in endsMsg
	ends  []int64
}

func newAsker(s *session) *asker {
	a := &asker{s: s, wake: make(chan struct{}, 1), aside: make(chan struct{}, 1), sizes: s.sizes()}
	a.known.Store(a.sizes[s.cfg.CheckoutsTopic])
	return a
}

// need is the first ask that begins after this call, and asks for it.
func (a *asker) need() uint64 {
	if !releaseRule() {
		return 0
	}
	return a.started.Load() + 1
}

func (a *asker) poke() {
	for _, wake := range []chan struct{}{a.wake, a.aside} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// repeat calls ask whenever woken, and once in a while. It says once what is in the way, and when that is over.
func (a *asker) repeat(ctx context.Context, who string, wake chan struct{}, warn func(cause error), ask func(ctx context.Context) (answer any, err error)) error {
	idle := time.NewTicker(idleAsk)
	defer idle.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-idle.C:
		}
		m, err := ask(ctx)
		refused := &a.s.p.refused
		if ctx.Err() == nil {
			refused.note(who, err, time.Now())
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case isGap(err):
			return err
		case refused.lasting() != nil:
			return refused.lasting()
		case err != nil && said != err.Error():
			warn(err)
			said = err.Error()
		case err == nil && said != "":
			a.s.log.Info("Kafka answers again")
			said = ""
		}
		if m != nil {
			select {
			case a.s.control <- m:
			case <-ctx.Done():
				return nil
			}
		}
		if err != nil {
			if pause(ctx, 200*time.Millisecond) != nil {
				return nil
			}
			select { // again at once
			case wake <- struct{}{}:
			default:
			}
		}
	}
}

func (a *asker) run(ctx context.Context) error {
	warn := func(cause error) {
		a.s.log.Warn("can't learn where the clicks end: checkouts wait", "cause", cause)
	}
	return a.repeat(ctx, asksClicks, a.wake, warn, func(ctx context.Context) (any, error) {
		m, err := a.ask(ctx)
		if err != nil {
			return nil, err
		}
		return m, nil
	})
}

// runAside asks for the ends of the checkouts partitions. What can be learnt of some is told though others give no answer.
func (a *asker) runAside(ctx context.Context) error {
	warn := func(cause error) {
		a.s.log.Warn("can't learn where a checkouts partition ends: the others go on", "cause", cause)
	}
	return a.repeat(ctx, asksCheckouts, a.aside, warn, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		topic, asked := a.s.cfg.CheckoutsTopic, a.s.now()
		ends, err := askOffsets(ctx, a.s.clicksClient, map[string]int32{topic: a.known.Load()}, atEnd, false)
		return &checkoutEndsMsg{asked, ends[topic]}, err
	})
}

// askTime is how long an answer is waited for.
const askTime = 10 * time.Second

// ask asks for everything at once: for fresh metadata, and for the ends of the clicks partitions that were known. Where the metadata name others the
// ends are asked for again.
func (a *asker) ask(ctx context.Context) (*endsMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	clicks, checkouts := a.s.cfg.ClicksTopic, a.s.cfg.CheckoutsTopic
	m := &endsMsg{gen: a.started.Add(1), asked: a.s.now()}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	ends := make(chan error, 1)
	go func() { ends <- a.endsOf(asking, m, a.sizes[clicks]) }()
	sizes, err := a.sizesNow(ctx)
	if err != nil {
		stop()
	}
	endsErr := <-ends
	if err != nil {
		return nil, err // what has become of the topics is why there is no answer about their ends
	}
	if sizes[clicks] != a.sizes[clicks] {
		endsErr = a.endsOf(ctx, m, sizes[clicks])
	}
	a.sizes, m.checkouts = sizes, int(sizes[checkouts])
	a.known.Store(sizes[checkouts])
	return m, endsErr
}

// endsOf asks where the clicks partitions end.
func (a *asker) endsOf(ctx context.Context, m *endsMsg, partitions int32) error {
	topic := a.s.cfg.ClicksTopic
	one := map[string]int32{topic: partitions}
	ends, err := listOffsets(ctx, a.s.clicksClient, one, atEnd, false)
	if err != nil {
		return err
	}
	m.clicks, m.stable = ends[topic], nil
	if a.stable.Load() {
		stable, err := listOffsets(ctx, a.s.clicksClient, one, atEnd, true)
		if err != nil {
			return err
		}
		m.stable = stable[topic]
	}
	return nil
}

// sizesNow asks for the topics' partitions, and whether they are still the topics that they were.
func (a *asker) sizesNow(ctx context.Context) (map[string]int32, error) {
	infos, err := describe(ctx, a.s.clicksClient, a.s.cfg.ClicksTopic, a.s.cfg.CheckoutsTopic)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int32{}
	for t, old := range a.s.infos {
		now, ok := infos[t]
		switch {
		case !ok:
			return nil, fmt.Errorf("topic %s is gone", t)
		case now.id != old.id:
			return nil, &GapError{t, 0, fmt.Sprintf("the topic was deleted and made again (topic id %x, before %x)", now.id, old.id), a.s.cureForGap()}
		case now.partitions < old.partitions && now.id == [16]byte{}:
			return nil, &GapError{t, now.partitions, "the topic has fewer partitions than before: it was deleted and made again", a.s.cureForGap()}
		}
		sizes[t] = max(now.partitions, a.sizes[t]) // invariant: a partition once known is asked for; a broker may not have heard of it yet
	}
	return sizes, nil
}
