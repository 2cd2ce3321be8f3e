package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	firstPause = 20 * time.Millisecond
	longPause  = 5 * time.Second
)

// brokenError is any failure after which the session was closed.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// passingError is a failure of ours that another attempt can mend.
type passingError struct{ cause string }

func (e *passingError) Error() string { return e.cause }

// retry calls fn until it succeeds, fails for good or ctx ends. what says what is tried, for the
// error and the log.
func (s *Sink) retry(ctx context.Context, what string, fn func(ctx context.Context) error) error {
	pause := firstPause
	for {
		err := fn(ctx)
		if err == nil {
			cause := s.failure.set("", "")
			if cause != "" && cause != causeConflict {
				s.log.Info("Postgres takes it again", "what", what, "cause", cause)
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		cause, passing := passes(err)
		if !passing {
			return explain(what, err)
		}
		s.failed(what, cause, err)
		wait := pause/2 + rand.N(pause/2+1)
		if cause == causeConflict {
			wait = rand.N(firstPause) // the other transaction goes on at once
		} else {
			pause = min(2*pause, longPause)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case <-s.clock.After(wait):
		}
	}
}

// failed counts a failure that is retried, and logs it if the cause is another one than before.
func (s *Sink) failed(what, cause string, err error) {
	s.metrics.retries.WithLabelValues(cause).Inc()
	if before := s.failure.set(cause, err.Error()); before != cause {
		s.log.Warn("Postgres does not take it yet: retrying", "what", what, "cause", cause, "error", err)
	}
}

// Causes of retries, as the metrics count them.
const (
	causeConnection = "connection"
	causeConflict   = "conflict" // deadlock or serialization failure
	causeTimeout    = "timeout"  // lock_timeout or statement_timeout, which the server or the role sets
	causeResources  = "resources"
	causeReadOnly   = "read_only"
	causeIO         = "io"
	causePlan       = "plan"    // the table was altered
	causeOffsets    = "offsets" // an offsets row changed between two looks
)

func causes() []string {
	return []string{
		causeConnection, causeConflict, causeTimeout, causeResources, causeReadOnly, causeIO, causePlan, causeOffsets,
	}
}

// passes says whether another attempt can mend err, and the cause to count it under. SQLSTATE:
// appendix A of the Postgres manual.
func passes(err error) (cause string, ok bool) {
	var passing *passingError
	var broken *brokenError
	var connect *pgconn.ConnectError
	var network net.Error
	var pe *pgconn.PgError
	switch {
	case errors.As(err, &passing):
		return passing.cause, true
	case errors.As(err, &pe):
	case errors.As(err, &broken), errors.As(err, &connect), errors.As(err, &network),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, os.ErrDeadlineExceeded), pgconn.SafeToRetry(err):
		return causeConnection, true
	default:
		return "", false
	}
	switch pe.Code {
	case "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "40003":
		return causeConnection, true
	case "40001", "40P01":
		return causeConflict, true
	case "55P03", "57014":
		return causeTimeout, true
	case "25006":
		return causeReadOnly, true
	case "0A000": // "cached plan must not change result type": the table was altered; the driver prepares anew
		return causePlan, pe.Routine == "RevalidateCachedQuery"
	}
	switch pe.Code[:min(2, len(pe.Code))] {
	case "08":
		return causeConnection, true
	case "53":
		return causeResources, true
	case "58":
		return causeIO, true
	}
	return "", false
}

// explain adds to an error that no retry mends what to do about it.
func explain(what string, err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", what, err)
	}
	advice := ""
	switch {
	case pe.Code == "42P01", pe.Code == "3F000", pe.Code == "42703":
		advice = "; rename back what was renamed, else run: firstclick migrate"
	case pe.Code == "42501" && pe.Routine == "check_enable_rls":
		advice = "; row-level security would hide rows from firstclick: " +
			"as a superuser, ALTER ROLE ... BYPASSRLS for its role"
	case pe.Code == "42501":
		advice = "; a right is missing: firstclick doctor, with the same --database, says which GRANT to run"
	case pe.Code == "22P03", pe.Code == "22P04":
		advice = "; Postgres does not read the form of our data, which is a fault of firstclick's: please report it"
	}
	return fmt.Errorf("%s: %w%s", what, err, advice)
}
