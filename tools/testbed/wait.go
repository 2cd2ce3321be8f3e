package testbed

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Pause waits for d, or until ctx ends; then it returns false.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Poll calls done until it returns true or an error, with a pause after each call. It returns the
// error of ctx when that ends first.
func Poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if !Pause(ctx, every) {
			return ctx.Err()
		}
	}
}

// Log writes lines with the seconds since it was made.
type Log struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

// NewLog makes a log that writes to out.
func NewLog(out io.Writer) *Log { return &Log{out: out, began: time.Now()} }

// Say writes one line.
func (l *Log) Say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%6.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}
