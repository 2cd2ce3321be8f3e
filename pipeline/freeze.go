package pipeline

import (
	"context"
	"errors"
	"time"
)

// freezeMsg lets the loop stand still until it ends.
type freezeMsg struct{ ends <-chan struct{} }

// Freeze makes the core loop stand still for d, or until ctx ends, as a process that gets no processor: nothing is released, corrected
// or committed, while membership and sessions live on. It is for demonstrations and tests: rows are late, and all come.
func (p *Pipeline) Freeze(ctx context.Context, d time.Duration) error {
	p.mu.Lock()
	s := p.current
	p.mu.Unlock()
	if s == nil {
		return errors.New("freeze the pipeline: it does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case s.control <- &freezeMsg{ctx.Done()}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-ctx.Done()
	return nil
}
