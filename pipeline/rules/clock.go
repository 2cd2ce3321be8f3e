package rules

import (
	"context"
	"time"
)

// Clock gives microseconds that never go back: the time that join takes as an argument.
type Clock struct{ start time.Time }

// NewClock makes a clock that starts at 0.
func NewClock() Clock { return Clock{time.Now()} }

// Now is the number of microseconds since the clock was made.
func (c Clock) Now() int64 { return time.Since(c.start).Microseconds() }

// Every calls do now and then once per period, until ctx ends or do returns an error.
func Every(ctx context.Context, period time.Duration, do func() error) error {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		if err := do(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
