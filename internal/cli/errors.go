package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// UsageError is something wrong with what was typed, or with the environment: one line that says what is allowed. It
// leads to exit code 2.
type UsageError struct {
	Command string // the command's path, "firstclick run"
	Message string
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("%s (see %s --help)", e.Message, e.Command)
}

// errStopped ends what a signal stopped before it was done.
var errStopped = errors.New("stopped before it was done")

// stopped says what was under way then, where the error knows that.
func stopped(err error) error {
	if err.Error() == context.Canceled.Error() {
		return errStopped
	}
	return fmt.Errorf("%w: %w", errStopped, err)
}

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &UsageError{Command: cmd.CommandPath(), Message: fmt.Sprintf(format, args...)}
}

// flagError turns what pflag says into one line that tells what is allowed. A refused value is never quoted by pflag's own
// words, for it may hold a password: the parse functions quote where that is harmless.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		return usagef(cmd, "unknown flag %s; %s", name, allowedFlags(cmd, unknown.GetSpecifiedName()))
	case errors.As(err, &missing):
		return usagef(cmd, "--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &invalid):
		return usagef(cmd, "--%s: %v", invalid.GetFlag().Name, invalid.Unwrap())
	}
	return usagef(cmd, "%v", err)
}

// allowedFlags names the flags that are near to what was typed, else all of the command's.
func allowedFlags(cmd *cobra.Command, typed string) string {
	var all, near []string
	visit := func(f *pflag.Flag) {
		if f.Hidden || slices.Contains(all, "--"+f.Name) {
			return
		}
		all = append(all, "--"+f.Name)
		if len(typed) > 1 && (distance(typed, f.Name) <= 2 || strings.HasPrefix(f.Name, typed)) {
			near = append(near, "--"+f.Name)
		}
	}
	cmd.LocalFlags().VisitAll(visit)
	cmd.InheritedFlags().VisitAll(visit)
	if len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return "allowed are " + strings.Join(all, ", ")
}

// noArguments refuses arguments to commands that take none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(cmd, "%s takes no arguments, only flags, but was given %s", cmd.Name(), typedWord(args[0]))
	}
	return nil
}

// typedWord is an argument that was not expected, quoted where it is a plain word: another one may
// be a connection string whose flag was forgotten.
func typedWord(text string) string {
	if plainWord.MatchString(text) {
		return strconv.Quote(text)
	}
	return "something that is no plain word, and is not repeated here in case it is a secret"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// unknownCommand is for commands that by themselves do nothing.
func unknownCommand(root *cobra.Command, typed string) error {
	var all []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			all = append(all, c.Name())
		}
	}
	if near := nearest(typed, all); len(near) > 0 {
		return usagef(root, "unknown command %s; did you mean %s?", typedWord(typed), strings.Join(near, " or "))
	}
	return usagef(root, "unknown command %s; allowed are %s", typedWord(typed), strings.Join(all, ", "))
}

// nearest are those of names that are at most two letters from what was typed, or the one that is it.
func nearest(typed string, names []string) []string {
	var near []string
	for _, name := range names {
		switch distance(typed, name) {
		case 0:
			return []string{name}
		case 1, 2:
			near = append(near, name)
		}
	}
	return near
}

// distance is Levenshtein's, by bytes: names are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
