package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kerr"

	"firstclick/pipeline"
)

// UsageError is a mistake on the command line, in a variable or in the configuration file: one line
// that says what is allowed. It leads to exit code 2.
type UsageError struct {
	Command string // the command's path, "firstclick run"
	Message string
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("%s (see %s --help)", e.Message, e.Command)
}

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &UsageError{Command: cmd.CommandPath(), Message: fmt.Sprintf(format, args...)}
}

// flagError turns an error of pflag into one line that says what is allowed. It leaves out pflag's
// own words, which quote the refused value: that may be a password.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		typed, dashes := unknown.GetSpecifiedName(), "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		var all []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				all = append(all, "--"+f.Name)
			}
		})
		return usagef(cmd, "unknown flag %s%s; %s", dashes, typed, didYouMean("--"+typed, all))
	case errors.As(err, &missing):
		return usagef(cmd, "--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &invalid):
		return usagef(cmd, "--%s: %v", invalid.GetFlag().Name, invalid.Unwrap())
	}
	return usagef(cmd, "%v", err)
}

// unknownCommand is the error of a command that only has sub-commands.
func unknownCommand(cmd *cobra.Command, typed string) error {
	var all []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			all = append(all, sub.Name())
		}
	}
	return usagef(cmd, "unknown command %s; %s", quoteWord(typed), didYouMean(typed, all))
}

// subcommandNeeded is the Args function of a command that only has sub-commands.
func subcommandNeeded(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return nil
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(cmd, "%s takes no arguments, only flags, but was given %s", cmd.Name(), quoteWord(args[0]))
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// quoteWord quotes an unexpected argument if it is a plain word. Another one may be a connection
// string whose flag was forgotten.
func quoteWord(text string) string {
	if plainWord.MatchString(text) {
		return strconv.Quote(text)
	}
	return "something that is not a plain word (not repeated here: it may be a secret)"
}

// didYouMean names the allowed words that are like the one that was typed, else all of them. Two
// letters may differ, or the end may be missing.
func didYouMean(typed string, allowed []string) string {
	words := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, word := range allowed {
		if word == typed {
			return "did you mean " + word + "?"
		}
		words.AddCommand(&cobra.Command{Use: word, Run: func(*cobra.Command, []string) {}})
	}
	if near := words.SuggestionsFor(typed); len(strings.Trim(typed, "-")) > 1 && len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return "allowed are " + strings.Join(allowed, ", ")
}

// errStopped is the error of a command that a signal stopped before it was done.
var errStopped = errors.New("stopped before it was done")

// stopped wraps an error that a signal caused, and keeps what it says about the work under way.
func stopped(err error) error {
	if err.Error() == context.Canceled.Error() {
		return errStopped
	}
	return fmt.Errorf("%w: %w", errStopped, err)
}

// PrintError writes an error that [Run] returned: one line, red on a terminal.
func PrintError(w io.Writer, env func(string) (string, bool), err error) {
	c := coloursFor(w, env)
	fmt.Fprintln(w, c.in(c.red, "firstclick:"), printable(singleLine(err.Error())))
}

// reachError says that a server did not answer, or refused the connection.
type reachError struct {
	server string // Kafka or Postgres
	text   string
	err    error // what the server said when it refused, else nil
}

func (e *reachError) Error() string { return e.text }
func (e *reachError) Unwrap() error { return e.err }

// nextSteps has what to do after an error of Postgres, by SQLSTATE:
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
var nextSteps = map[string]string{
	"42P01": "create the tables with `firstclick migrate`",
	"3F000": "create the tables with `firstclick migrate`",
	"42501": "docs/operations.md has the grants that a role needs",
	"53100": "make room on the disk of Postgres",
	"53300": "raise max_connections, or stop what holds the connections",
}

// withNextStep adds what to do next to an error that does not say it.
func withNextStep(err error) error {
	var usage *UsageError
	var config *pipeline.ConfigError
	var gap *pipeline.GapError
	var reach *reachError
	var answer *pgconn.PgError
	next := ""
	switch {
	case err == nil, errors.As(err, &usage), errors.As(err, &config), errors.As(err, &gap): // they say it
	case errors.Is(err, pipeline.ErrFencedAgain):
		next = "look for a second deployment with the same --group: SELECT * FROM firstclick.instances"
	case errors.As(err, &reach) && reach.server == "Postgres" && reach.err != nil:
		next = "check --database and PGPASSWORD, or run `firstclick doctor`"
	case errors.As(err, &reach) && reach.server == "Postgres":
		next = "is it running, and is --database right? `firstclick doctor` examines it"
	case errors.As(err, &reach):
		next = "is it running, and are --kafka, --kafka-tls and --kafka-sasl right? `firstclick doctor` examines it"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		next = "create the topic, or name another with --clicks-topic or --checkouts-topic"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
		next = "the brokers' ACLs must let --kafka-user read both topics and join --group"
	case errors.As(err, &answer) && !strings.Contains(err.Error(), "firstclick migrate"): // else it says it
		next = nextSteps[answer.Code]
	}
	if next == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, next)
}
