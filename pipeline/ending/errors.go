package ending

import (
	"errors"
	"fmt"
)

// ConfigError says that the configuration cannot be used. Its text says what to do.
type ConfigError struct{ Text string }

// Configf makes a ConfigError.
func Configf(format string, args ...any) error { return &ConfigError{fmt.Sprintf(format, args...)} }

func (e *ConfigError) Error() string { return e.Text }

// GapError says that records are gone that firstclick has not read, or still needs. The run stops:
// see docs/architecture.md#promise-8-no-silent-gap.
type GapError struct {
	Topic     string
	Partition int32
	Missing   string // what is missing, and how that is known
	Cure      string // what to run
}

func (e *GapError) Error() string {
	return fmt.Sprintf("data gap in %s[%d]: %s; %s", e.Topic, e.Partition, e.Missing, e.Cure)
}

// Gapf makes a GapError that says what is missing.
func Gapf(topic string, partition int32, format string, args ...any) error {
	return &GapError{topic, partition, fmt.Sprintf(format, args...), cure}
}

const cure = "restore the records, or begin anew under another --group with --start earliest" +
	" (rows in the table are kept, and not written twice); see docs/operations.md, Data gap"

// NeverRead is the gap from offset next up to the start of the log.
func NeverRead(topic string, partition int32, next, start int64) error {
	return Gapf(topic, partition, "offsets %d to %d were never read and are gone: "+
		"retention deleted them, or the topic was truncated", next, start-1)
}

// ErrFencedAgain ends a run whose shards other instances take over again and again.
var ErrFencedAgain = errors.New("fenced again and again: other instances keep taking over the shards of this one; " +
	"is the host paused or starved, or the session timeout too short for it?")

// RestartError ends an attempt. What was not committed is forgotten, and the next attempt begins
// from the positions in Postgres.
type RestartError struct {
	Cause  error
	Fenced bool // another instance owns shards of this one
}

func (e *RestartError) Error() string { return "begin again: " + e.Cause.Error() }
func (e *RestartError) Unwrap() error { return e.Cause }

// Restartf makes a RestartError. %w stands for its cause.
func Restartf(format string, args ...any) error {
	return &RestartError{Cause: fmt.Errorf(format, args...)}
}
