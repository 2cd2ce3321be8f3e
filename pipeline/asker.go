package pipeline

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"
	"time"
)

// asker asks where the partitions end: at once when a checkout waits, else once in a while, for the watermark, the lag and new
// partitions. Invariant (promise 2): an ask numbered n was begun after everything that was told to need n had been fetched.
type asker struct {
	s       *session
	started atomic.Uint64
	wake    chan struct{}
	stable  atomic.Bool      // ask for last stable offsets too
	sizes   map[string]int32 // partitions that the last ask has found
}

// idleAsk is how often ends are asked for while no checkout waits.
const idleAsk = 500 * time.Millisecond

type endsMsg struct {
	gen                       uint64
	asked                     int64 // when it was begun, by the session's clock
	clicks, stable, checkouts []int64
}

func newAsker(s *session) *asker {
	return &asker{s: s, wake: make(chan struct{}, 1), sizes: s.sizes()}
}

// need is the first ask that begins after this call, and asks for it.
func (a *asker) need() uint64 {
	if !releaseRule() {
		return 0
	}
	return a.started.Load() + 1
}

func (a *asker) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *asker) run(ctx context.Context) error {
	idle := time.NewTicker(idleAsk)
	defer idle.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-idle.C:
		}
		m, err := a.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case isGap(err):
			return err
		case err != nil:
			if said != err.Error() {
				said = err.Error()
				a.s.log.Warn("can't learn where the topics end: checkouts wait", "cause", err)
			}
			if pause(ctx, 200*time.Millisecond) != nil {
				return nil
			}
			a.poke()
			continue
		}
		if said != "" {
			said = ""
			a.s.log.Info("Kafka answers again")
		}
		select {
		case a.s.control <- m:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask asks for everything at once: for fresh metadata, and for the ends of the partitions that were known. Where the metadata name others the
// ends are asked for again.
func (a *asker) ask(ctx context.Context) (*endsMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m := &endsMsg{gen: a.started.Add(1), asked: a.s.now()}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	ends := make(chan error, 1)
	go func() { ends <- a.endsOf(asking, m, a.sizes) }()
	sizes, err := a.sizesNow(ctx)
	if err != nil {
		stop()
	}
	endsErr := <-ends
	switch {
	case err != nil:
		return nil, err // what has become of the topics is why there is no answer about their ends
	case !maps.Equal(sizes, a.sizes):
		a.sizes = sizes
		endsErr = a.endsOf(ctx, m, sizes)
	}
	return m, endsErr
}

// endsOf asks where partitions end.
func (a *asker) endsOf(ctx context.Context, m *endsMsg, sizes map[string]int32) error {
	cfg := &a.s.cfg
	ends, err := listOffsets(ctx, a.s.clicksClient, sizes, atEnd, false)
	if err != nil {
		return err
	}
	m.clicks, m.checkouts, m.stable = ends[cfg.ClicksTopic], ends[cfg.CheckoutsTopic], nil
	if a.stable.Load() {
		stable, err := listOffsets(ctx, a.s.clicksClient, map[string]int32{cfg.ClicksTopic: sizes[cfg.ClicksTopic]}, atEnd, true)
		if err != nil {
			return err
		}
		m.stable = stable[cfg.ClicksTopic]
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
