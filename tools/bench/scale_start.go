package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"firstclick/internal/datagen"
	"firstclick/tools/testbed"
)

// restart drains a workload of 50 minutes, whose clicks are all still needed. Then it measures how
// fast a new instance has them in its window again, in turn with a bare read of the same topic.
func (s *scale) restart(ctx context.Context) error {
	p, err := s.lay(ctx, "restart", func(c *datagen.Config) { c.EventRate = float64(c.Count) / 3000 })
	if err != nil {
		return err
	}
	s.rounds++
	if _, err := p.drain(ctx, s.rounds); err != nil {
		return err
	}
	t := p.topics
	t.group += "-" + strconv.Itoa(s.rounds)
	clicks := kadm.ListedOffsets{t.clicks: p.ends[t.clicks]}
	var reads, paces, ratios, readies []float64
	for range s.opts.rounds {
		began := time.Now()
		n, err := testbed.Read(ctx, p.kafka.Addr, clicks, nil)
		if err != nil {
			return err
		}
		read := float64(n) / time.Since(began).Seconds()
		pace, ready, err := p.rebuild(ctx, t, float64(n))
		if err != nil {
			return err
		}
		reads, paces = append(reads, read), append(paces, pace)
		ratios, readies = append(ratios, pace/read), append(readies, ready.Seconds())
	}
	s.add(ScaleResult{
		Dimension: scaleRestart, Variant: fmt.Sprintf("%d clicks read again", p.expected.Clicks),
		Ratio: median(ratios), Pairs: ratios,
		Figures: map[string]float64{
			"clicks/s": median(paces), "bare read clicks/s": median(reads), "s from start to ready": median(readies),
		},
	})
	return nil
}

// rebuild starts an instance of a group that stands at the end. It gives the clicks a second from
// the first one in the window to the last.
func (p *place) rebuild(ctx context.Context, t topics, clicks float64) (pace float64, ready time.Duration, err error) {
	i, err := p.launch("restart", t)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, i.Stop(stopTime)) }()
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var began time.Time
	var first, last float64
	// An answer costs a millisecond of the two cores.
	err = i.Poll(waiting, 50*time.Millisecond, func() bool {
		if seen, err := i.Metrics(ctx); err == nil {
			last = seen["firstclick_window_clicks"]
		}
		if began.IsZero() && last > 0 {
			began, first = time.Now(), last
		}
		return last >= clicks
	})
	if err != nil {
		return 0, 0, fmt.Errorf("%.0f of %.0f clicks are in the window: %w", last, clicks, err)
	}
	pace = (last - first) / time.Since(began).Seconds()
	ready, err = i.Ready(ctx)
	return pace, ready, err
}

// startUps is how often start-up is measured.
const startUps = 11

// startUp measures from the start of the process to ready, with nothing to read again. The broker
// does not delay rebalances of an empty group (group.initial.rebalance.delay.ms is 0 here).
func (s *scale) startUp(ctx context.Context) error {
	t := newTopics("start", s.opts.partitions)
	if err := s.p.empty(ctx); err != nil {
		return err
	}
	if err := s.p.createTopics(ctx, t); err != nil {
		return err
	}
	var took []int64
	for n := range startUps {
		i, err := s.p.launch("start", t)
		if err != nil {
			return err
		}
		ready, err := i.Ready(ctx)
		if err := errors.Join(err, i.Stop(stopTime)); err != nil {
			return err
		}
		if n > 0 { // the first one stores where the group begins
			took = append(took, int64(ready))
		}
	}
	q := quantiles(took)
	s.add(ScaleResult{
		Dimension: scaleStartUp, Variant: "nothing to re-read",
		Figures: map[string]float64{"ms to ready, median": q.P50, "ms to ready, slowest": q.Max},
	})
	return nil
}
