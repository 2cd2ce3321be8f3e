package datagen

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceIsKeptOnAverage(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 7, 60, 999, 10_000, 200_000} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace(rate, tick)
			begin := time.Now()
			var total, most int64
			for time.Since(begin) < 100*time.Second {
				n, err := p.wait(t.Context(), maxBatch)
				if err != nil {
					t.Fatal(err)
				}
				total += n
				most = max(most, n)
				due := time.Since(begin).Seconds()*rate + 1
				if math.Abs(float64(total)-due) > 1+1e-6*due {
					t.Fatalf("%v/s: %d events after %s, %.1f are due", rate, total, time.Since(begin), due)
				}
			}
			if limit := int64(rate*tick.Seconds()) + 1; most > limit {
				t.Errorf("%v/s: a burst of %d, want %d at most", rate, most, limit)
			}
		})
	}
}

// At a low rate each event is sent alone, at its own time.
func TestPaceOfOneASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1, tick)
		begin := time.Now()
		for i := range 5 {
			n, err := p.wait(t.Context(), maxBatch)
			if at := time.Since(begin); err != nil || n != 1 || at != time.Duration(i)*time.Second {
				t.Errorf("%d events at %s: %v", n, at, err)
			}
		}
	})
}

func TestPaceCatchesUpAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(10_000, tick)
		begin := time.Now()
		var total int64
		for stalled := false; time.Since(begin) < 20*time.Second; {
			n, err := p.wait(t.Context(), maxBatch)
			if err != nil || n > maxBatch {
				t.Fatalf("%d events: %v", n, err)
			}
			total += n
			if !stalled && total >= 50_000 {
				stalled = true
				<-time.After(10 * time.Second)
			}
		}
		if total < 200_000 || total > 200_100 {
			t.Errorf("%d events in 20 s at 10,000/s with a stall of 10 s", total)
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := newPace(0.001, tick)
		if n, err := p.wait(ctx, maxBatch); n != 1 || err != nil {
			t.Fatalf("first event: %d, %v", n, err)
		}
		begin := time.Now()
		if _, err := p.wait(ctx, maxBatch); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(begin) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

func TestEventTimes(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		cfg         Config
		n           int64
		first, last time.Duration // from now, of events 0 and n
	}{
		"real time":           {Config{Rate: 4}, 8, 0, 2 * time.Second},
		"real time, counted":  {Config{Rate: 4, Count: 8}, 8, 0, 2 * time.Second},
		"backlog":             {Config{Count: 60_000}, 60_000, -time.Minute, 0},
		"backlog, event rate": {Config{Count: 600, EventRate: 10}, 600, -time.Minute, 0},
		"fast":                {Config{Rate: 10, Speed: 60, Count: 100}, 100, -590 * time.Second, 10 * time.Second},
		"given start": {Config{Rate: 10, Speed: 6, Count: 100, Start: now.Add(-time.Hour)}, 100, -time.Hour,
			-59 * time.Minute},
	} {
		cfg, err := c.cfg.checked()
		if err != nil {
			t.Fatal(err)
		}
		clock := newEventClock(cfg, now)
		if got := time.UnixMicro(clock.at(0)).Sub(now); got != c.first {
			t.Errorf("%s: first event at %s, want %s", name, got, c.first)
		}
		if got := time.UnixMicro(clock.at(c.n)).Sub(now); got != c.last {
			t.Errorf("%s: event %d at %s, want %s", name, c.n, got, c.last)
		}
	}
}

func TestEventTimesOfTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, err := Config{}.checked()
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		clock := newEventClock(cfg, begin)
		<-time.After(3 * time.Second)
		if got := clock.at(12345); got != begin.Add(3*time.Second).UnixMicro() {
			t.Errorf("event time %s, 3 s after %s", time.UnixMicro(got), begin)
		}
	})
}
