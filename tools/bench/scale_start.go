package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/datagen"
)

// restart drains a workload whose clicks are all still needed, and then measures how fast a new instance has them in its window again, in turn
// with a bare read of the same topic.
func (s *scale) restart(ctx context.Context) error {
	p, err := s.lay(ctx, "restart", func(c *datagen.Config) { c.EventRate = float64(c.Count) / 3000 }) // 50 minutes
	if err != nil {
		return err
	}
	s.rounds++
	if _, err := p.drain(ctx, s.rounds); err != nil {
		return err
	}
	group := p.topics.group + "-" + strconv.Itoa(s.rounds)
	clicks := *p
	clicks.ends = map[string][]end{p.topics.clicks: p.ends[p.topics.clicks]}
	var reads, paces, ratios, readies []float64
	for range s.opts.rounds {
		began := time.Now()
		n, err := clicks.consume(ctx, func(kgo.FetchTopicPartition) error { return nil })
		if err != nil {
			return err
		}
		read := float64(n) / time.Since(began).Seconds()
		pace, ready, err := p.rebuild(ctx, group, n)
		if err != nil {
			return err
		}
		reads, paces, ratios, readies = append(reads, read), append(paces, pace), append(ratios, pace/read), append(readies, ready.Seconds())
	}
	s.add(ScaleResult{Dimension: scaleRestart, Variant: fmt.Sprintf("%d clicks read again", p.expected.Clicks), Ratio: median(ratios), Pairs: ratios,
		Figures: map[string]float64{"clicks/s": median(paces), "bare read clicks/s": median(reads), "s from start to ready": median(readies)}})
	return nil
}

// rebuild starts an instance of a group that stands at the end, and gives the clicks a second from the first one in the window to the last.
func (p *place) rebuild(ctx context.Context, group string, clicks int64) (pace float64, ready time.Duration, err error) {
	i, err := p.launch("restart", "--clicks-topic", p.topics.clicks, "--checkouts-topic", p.topics.checkouts, "--group", group)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, i.stop()) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond) // an answer costs a millisecond of the two cores
	defer ticker.Stop()
	var began time.Time
	var first, last float64
	for last < float64(clicks) {
		select {
		case <-ticker.C:
		case <-i.ended:
			return 0, 0, fmt.Errorf("firstclick ended: %w\n%s", i.err, tail(i.log))
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("%.0f of %d clicks are in the window: %w", last, clicks, ctx.Err())
		}
		held, err := i.metric(ctx, "firstclick_window_clicks")
		switch {
		case err != nil || held == 0: // not there yet
		case began.IsZero():
			began, first, last = time.Now(), held, held
		default:
			last = held
		}
	}
	pace = (last - first) / time.Since(began).Seconds()
	ready, err = i.ready(ctx)
	return pace, ready, err
}

// metric reads one metric of an instance.
func (i *instance) metric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.address+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept-Encoding", "identity") // compressing an answer costs more than all else about it
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		return strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// startUps is how often start-up is measured.
const startUps = 11

// startUp measures from the start of the process to ready, with nothing to re-read. The broker does not delay rebalances of an empty
// group (group.initial.rebalance.delay.ms is 0 here).
func (s *scale) startUp(ctx context.Context) error {
	t := topics{clicks: "start-clicks", checkouts: "start-checkouts", group: "start", partitions: int32(s.opts.partitions)}
	if err := s.p.empty(ctx); err != nil {
		return err
	}
	if err := s.p.createTopics(ctx, t); err != nil {
		return err
	}
	var took []int64
	for n := range startUps {
		i, err := s.p.launch("start", t.flags()...)
		if err != nil {
			return err
		}
		ready, err := i.ready(ctx)
		if err := errors.Join(err, i.stop()); err != nil {
			return err
		}
		if n > 0 { // the first one stores where the group begins
			took = append(took, int64(ready))
		}
	}
	q := quantiles(took)
	s.add(ScaleResult{Dimension: scaleStartUp, Variant: "nothing to re-read", Figures: map[string]float64{"ms to ready, median": q.P50, "ms to ready, slowest": q.Max}})
	return nil
}
