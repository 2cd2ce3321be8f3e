package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"firstclick/internal/ports"
	"firstclick/tools/testbed"
)

// What looks on while a drain is watched: as many pages as three people have open, and a Prometheus
// that asks five times as often as the one in docker/prometheus.
const (
	openPages   = 3
	scrapeEvery = time.Second
)

// measureWatched drains the same backlog alone and watched by turns, and says what being looked at
// costs. Which of the two goes first changes each round, so that neither is always the one that
// finds the broker warm.
func measureWatched(ctx context.Context, opts options, out io.Writer) (err error) {
	log := testbed.NewLog(out)
	p, _, err := startWithBacklog(ctx, opts, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	log.Say("one drain that does not count")
	if _, err := p.drain(ctx, -1); err != nil {
		return err
	}
	var wall, cpu []float64
	var seen audience
	for round := range opts.rounds {
		var alone, watched Figures
		for turn := range 2 {
			if (round+turn)%2 == 0 {
				alone, err = p.drain(ctx, round)
			} else {
				watched, err = p.drainWatched(ctx, round, &seen)
			}
			if err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
		wall, cpu = append(wall, watched.Wall/alone.Wall), append(cpu, watched.CPU/alone.CPU)
		log.Say("round %d of %d: alone %s | watched %s | %.3f of the time", round+1, opts.rounds, alone, watched,
			watched.Wall/alone.Wall)
	}
	if seen.events.Load() == 0 || seen.scrapes.Load() == 0 {
		return errors.New("nobody looked: no event or no scrape came")
	}
	fmt.Fprintf(out,
		"\nwatched by %d pages and a scrape a second, of alone: time %s, CPU %s (median, least to greatest of %d "+
			"rounds)\n", openPages, spread(wall), spread(cpu), opts.rounds)
	fmt.Fprintf(out, "%d events of pages and %d scrapes, %.1f ms each as their client saw it\n", seen.events.Load(),
		seen.scrapes.Load(),
		float64(seen.scraping.Load())/float64(seen.scrapes.Load())/1e6)
	return nil
}

func spread(values []float64) string {
	slices.Sort(values)
	middle := (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	return fmt.Sprintf("%.3f (%.3f to %.3f)", middle, values[0], values[len(values)-1])
}

// audience is what those who looked have been given.
type audience struct{ events, scrapes, scraping atomic.Int64 } // scraping: nanoseconds

func (p *place) drainWatched(ctx context.Context, round int, seen *audience) (Figures, error) {
	free, err := ports.Free(1)
	if err != nil {
		return Figures{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", free[0])
	looking, away := context.WithCancel(ctx)
	var lookers sync.WaitGroup
	for range openPages {
		lookers.Go(func() { again(looking, notUpYet, func() bool { return seen.page(looking, address) }) })
	}
	lookers.Go(func() { again(looking, scrapeEvery, func() bool { return seen.scrape(looking, address) }) })
	figures, err := p.drainAs(ctx, "watched-"+strconv.Itoa(round), address)
	away()
	lookers.Wait()
	return figures, err
}

// notUpYet is how soon an instance is asked again that did not answer.
const notUpYet = 20 * time.Millisecond

// again calls do at once and then each pause after its end, sooner where it was not answered, until
// ctx ends.
func again(ctx context.Context, pause time.Duration, do func() (answered bool)) {
	for {
		wait := notUpYet
		if do() {
			wait = pause
		}
		if !testbed.Pause(ctx, wait) {
			return
		}
	}
}

// page reads a page's stream to its end, as a browser does that shows it.
func (a *audience) page(ctx context.Context, address string) (answered bool) {
	answer, err := testbed.Get(ctx, "http://"+address+"/api/events", true)
	if err != nil {
		return false // it is not up yet, or gone
	}
	defer answer.Body.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := answer.Body.Read(buffer)
		if n > 0 {
			a.events.Add(1)
		}
		if err != nil {
			return true
		}
	}
}

func (a *audience) scrape(ctx context.Context, address string) (answered bool) {
	began := time.Now()
	answer, err := testbed.Get(ctx, "http://"+address+"/metrics", true)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return false
	}
	a.scrapes.Add(1)
	a.scraping.Add(int64(time.Since(began)))
	return true
}
