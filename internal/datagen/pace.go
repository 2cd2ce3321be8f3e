package datagen

import (
	"context"
	"time"
)

// tick is the least time between two batches where events are due more often than that: waking for each would only burn the processor.
const tick = 2 * time.Millisecond

// pace tells how many events are due. It is an open loop: number n is due at begin + n/rate whatever was sent before, so that
// a stall is caught up with and nothing drifts.
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

// wait blocks until something is due and gives how much, at most most. Only the end of ctx is an error.
func (p *pace) wait(ctx context.Context, most int64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if p.rate == 0 {
		p.done += most
		return most, nil
	}
	due := p.begin.Add(time.Duration(float64(p.done) / p.rate * float64(time.Second)))
	if next := p.woken.Add(p.tick); next.After(due) {
		due = next
	}
	if err := sleepUntil(ctx, due); err != nil {
		return 0, err
	}
	p.woken = time.Now()
	n := int64(p.woken.Sub(p.begin).Seconds()*p.rate) + 1 - p.done
	n = min(max(n, 1), most)
	p.done += n
	return n, nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
