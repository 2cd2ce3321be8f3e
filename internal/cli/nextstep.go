package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"

	"firstclick/pipeline"
)

// PrintError writes an error that [Run] returned: one line, red on a terminal.
func PrintError(w io.Writer, env func(string) (string, bool), err error) {
	c := coloursFor(w, env)
	fmt.Fprintln(w, c.in(c.red, "firstclick:"), harmless(singleLine(err.Error())))
}

// adviceError is an error with what to do about it.
type adviceError struct {
	err  error
	next string
}

func (e *adviceError) Error() string { return e.err.Error() + "; " + e.next }
func (e *adviceError) Unwrap() error { return e.err }

// reachError says that a server did not answer, or refused us.
type reachError struct {
	server string // Kafka or Postgres
	text   string
	err    error // what it said when it refused us, else nil
}

func (e *reachError) Error() string { return e.text }
func (e *reachError) Unwrap() error { return e.err }

// advised adds the next step to errors that do not name it themselves.
func advised(err error) error {
	if next := nextStep(err); next != "" {
		return &adviceError{err, next}
	}
	return err
}

// nextSteps are for what Postgres says: https://www.postgresql.org/docs/current/errcodes-appendix.html.
var nextSteps = map[string]string{
	"42P01": "create the tables with `firstclick migrate`",
	"3F000": "create the tables with `firstclick migrate`",
	"42501": "docs/operations.md has the grants that a role needs",
	"53100": "make room on the disk of Postgres",
	"53300": "raise max_connections, or stop what holds the connections",
}

func nextStep(err error) string {
	var usage *UsageError
	var config *pipeline.ConfigError
	var gap *pipeline.GapError
	var reach *reachError
	var answer *pgconn.PgError
	switch {
	case err == nil, errors.As(err, &usage), errors.As(err, &config), errors.As(err, &gap): // these say it
	case errors.Is(err, pipeline.ErrFencedAgain):
		return "look for a second deployment with the same --group: SELECT * FROM firstclick.instances"
	case errors.As(err, &reach) && reach.server == "Postgres" && reach.err != nil:
		return "see --database and PGPASSWORD, or ask `firstclick doctor`"
	case errors.As(err, &reach) && reach.server == "Postgres":
		return "is it running, and is --database right? `firstclick doctor` looks closer"
	case errors.As(err, &reach):
		return "is it running, and are --kafka, --kafka-tls and --kafka-sasl right? `firstclick doctor` looks closer"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "create the topic, or name another with --clicks-topic or --checkouts-topic"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
		return "the brokers' ACLs must let --kafka-user read both topics and join --group"
	case errors.As(err, &answer) && !strings.Contains(err.Error(), "firstclick migrate"): // else it says it
		return nextSteps[answer.Code]
	}
	return ""
}
