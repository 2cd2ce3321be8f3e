package datagen

import (
	"context"
	"time"
)

// tick is the least time between two batches with a rate: to wake up for every event costs too
// much.
const tick = 2 * time.Millisecond

// pace says how many events are due. Event number n is due at begin + n/rate, whatever was sent
// before: a stall is caught up, and nothing drifts.
type pace struct {
	rate  float64 // per second; 0: always a full batch
	tick  time.Duration
	begin time.Time
	woken time.Time
	done  int64
}

func newPace(rate float64, tick time.Duration) *pace {
	now := time.Now()
	return &pace{rate: rate, tick: tick, begin: now, woken: now.Add(-tick)}
}

// wait blocks until events are due, and returns how many, at most most. Its error is that of ctx.
func (p *pace) wait(ctx context.Context, most int64) (int64, error) {
	if p.rate == 0 {
		p.done += most
		return most, ctx.Err()
	}
	due := p.begin.Add(time.Duration(float64(p.done) / p.rate * float64(time.Second)))
	if next := p.woken.Add(p.tick); next.After(due) {
		due = next
	}
	if err := sleep(ctx, time.Until(due)); err != nil {
		return 0, err
	}
	p.woken = time.Now()
	n := int64(p.woken.Sub(p.begin).Seconds()*p.rate) + 1 - p.done
	n = min(max(n, 1), most)
	p.done += n
	return n, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eventClock has the time of each event.
type eventClock struct {
	start, step float64
	wall        func() int64 // used without a step
}

func newEventClock(cfg Config, begin time.Time) eventClock {
	start := cfg.start(begin)
	c := eventClock{start: float64(start), step: cfg.step()}
	if c.step == 0 {
		c.wall = func() int64 { return start + int64(float64(time.Since(begin).Microseconds())*cfg.Speed) }
	}
	return c
}

// at is the time of event number n in microseconds.
func (c eventClock) at(n int64) int64 {
	if c.wall != nil {
		return c.wall()
	}
	// float64() forbids a fused multiply-add, so that every machine gets the same times.
	// Microseconds since 1970 are below 2^53 until 2255.
	return int64(c.start + float64(float64(n)*c.step))
}
