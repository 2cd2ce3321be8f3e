package pipeline

import (
	"errors"
	"fmt"
)

// GapError says that records are gone that firstclick has not read, or still needs: it stops rather than pass over them
// silently.
type GapError struct {
	Topic     string
	Partition int32
	Missing   string // what is missing, and why that is known
	Cure      string // what to run
}

func (e *GapError) Error() string {
	return fmt.Sprintf("data gap in %s[%d]: %s; %s", e.Topic, e.Partition, e.Missing, e.Cure)
}

// ErrFencedAgain ends a run whose shards are taken over by other instances again and again.
var ErrFencedAgain = errors.New("fenced again and again: other instances keep taking over the shards of this one; is the host paused or starved, or the session timeout too short for it?")

// againError ends a session: everything that was not committed is forgotten, and a new session begins where Postgres is.
type againError struct {
	cause  error
	fenced bool
}

func (e *againError) Error() string { return "begin again: " + e.cause.Error() }
func (e *againError) Unwrap() error { return e.cause }
