package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"firstclick/pipeline"
)

var update = flag.Bool("update", false, "write what is printed to testdata instead of comparing")

// everyCommand returns all visible commands by the words that lead to them.
func everyCommand(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	all := map[string]*cobra.Command{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		all[strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "firstclick"), " ")] = cmd
		for _, sub := range visible(cmd) {
			walk(sub)
		}
	}
	walk(newRoot(Streams{Env: environment(nil)}))
	return all
}

// The help of every command. go test ./internal/cli -run TestHelpAsItIs -update writes the files.
func TestHelpAsItIs(t *testing.T) {
	for words, cmd := range everyCommand(t) {
		t.Run(manName(cmd), func(t *testing.T) {
			help, _, err := invoke(t.Context(), nil, append(strings.Fields(words), "--help")...)
			if err != nil {
				t.Fatal(err)
			}
			if also, _, err := invoke(t.Context(), nil,
				append([]string{"help"}, strings.Fields(words)...)...); err != nil ||
				also != help {
				t.Errorf("firstclick help %s: %v, %q", words, err, also)
			}
			if strings.Contains(help, "\x1b") {
				t.Error("colours, and nobody looks")
			}
			golden := filepath.Join("testdata", "help", manName(cmd)+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(help), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if help != string(want) {
				t.Errorf("%s is otherwise (-update, if it is meant so):\n%s", golden, help)
			}
		})
	}
}

// The examples work: their flags exist. Other programs in a pipe are ignored.
func TestExamplesAreOfThisProgram(t *testing.T) {
	all := everyCommand(t)
	for words, cmd := range all {
		if cmd.Short == "" || !strings.Contains(cmd.Example, "firstclick "+words) {
			t.Errorf("%q has no description or no example of itself", words)
		}
		for line := range strings.Lines(cmd.Example) {
			_, call, ok := strings.Cut(line, "firstclick ")
			if !ok {
				t.Errorf("%q: example %q", words, line)
			}
			call, _, _ = strings.Cut(call, "|")
			call, _, _ = strings.Cut(call, ")")
			call, _, _ = strings.Cut(call, ">")
			call, _, _ = strings.Cut(call, "#")
			about := cmd.Root()
			for _, word := range strings.Fields(call) {
				for _, sub := range about.Commands() {
					if sub.Name() == word {
						about = sub
						break
					}
				}
				if word == "--" {
					break
				}
				if name, isFlag := strings.CutPrefix(word, "--"); isFlag && about.Flags().Lookup(name) == nil &&
					about.InheritedFlags().Lookup(name) == nil {
					t.Errorf(
						"%q: example %q: %s has no --%s",
						words,
						strings.TrimSpace(line),
						about.CommandPath(),
						name,
					)
				}
			}
		}
	}
}

func TestDidYouMean(t *testing.T) {
	for args, want := range map[string]string{
		"rnu": "did you mean run?", "varify": "did you mean verify?", "help verfiy": "did you mean verify?",
		"deadletters":         "did you mean dead-letters?",
		"dead-letters shwo 1": "did you mean show?", "help dead-letters dorp": "did you mean drop?",
		"man docter":      "did you mean doctor?",
		"run --windwo 1h": "did you mean --window?", "run --dryrun": "did you mean --dry-run?",
		"verify --jsn":     "did you mean --json?",
		"run --log-levl x": "did you mean --log-level?", "generate --unknwn-user 1": "did you mean --unknown-user?",
		"completion fsh": "bash, zsh or fish",
		"completion":     "bash, zsh or fish", "run --until": "did you mean --until-caught-up?",
	} {
		_, _, err := invoke(t.Context(), nil, strings.Fields(args)...)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestVersionFlag(t *testing.T) {
	flag, _, err := invoke(t.Context(), nil, "--version")
	command, _, err2 := invoke(t.Context(), nil, "version")
	if err != nil || err2 != nil || flag != command || !strings.Contains(flag, ", commit ") {
		t.Errorf("%q, %v; %q, %v", flag, err, command, err2)
	}
}

func TestColours(t *testing.T) {
	for name, row := range map[string]struct {
		terminal bool
		vars     map[string]string
		want     bool
	}{
		"a terminal":              {true, map[string]string{"TERM": "xterm"}, true},
		"a terminal of no name":   {true, nil, true},
		"no terminal":             {false, nil, false},
		"NO_COLOR":                {true, map[string]string{"NO_COLOR": "1"}, false},
		"NO_COLOR, whatever":      {true, map[string]string{"NO_COLOR": "0"}, false},
		"NO_COLOR, empty":         {true, map[string]string{"NO_COLOR": ""}, true},
		"a terminal without":      {true, map[string]string{"TERM": "dumb"}, false},
		"no terminal and no wish": {false, map[string]string{"NO_COLOR": ""}, false},
	} {
		if got := coloured(row.terminal, environment(row.vars)); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	c := colours{red: "R", green: "G", yellow: "Y", plain: "-"}
	report := "ok    a\nwarn  b\nfail  c failed ok\n\nEverything as it should be.\nNOT as it should be.\nNothing " +
		"wrong " +
		"so far; see.\n1 ok, 2 warn\n"
	if got, want := string(c.paint([]byte(report))), "Gok  -  a\nYwarn-  b\nRfail-  c failed ok\n\nGEverything as it "+
		"should be.-\nRNOT as it should be.-\nYNothing wrong so far; see.-\n1 ok, 2 warn\n"; got != want {
		t.Errorf("got %q", got)
	}
	if got := string(colours{}.paint([]byte(report))); got != report {
		t.Errorf("got %q", got)
	}
}

// Errors are one line, and name the next step if they do not already.
func TestNextSteps(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("read offsets: %w", err) }
	for name, row := range map[string]struct {
		err  error
		next string
	}{
		"no answer of Kafka": {&reachError{"Kafka", "Kafka at a:1 did not answer", nil}, "firstclick doctor"},
		"no answer of Postgres": {&reachError{"Postgres", "Postgres at a:1 did not answer", nil},
			"is --database right?"},
		"refused by Postgres":   {&reachError{"Postgres", "refuses us", &pgconn.PgError{Code: "28P01"}}, "PGPASSWORD"},
		"no table":              {wrapped(&pgconn.PgError{Code: "42P01"}), "firstclick migrate"},
		"no table, and said so": {fmt.Errorf("%w; run firstclick migrate first", &pgconn.PgError{Code: "42P01"}), ""},
		"no schema":             {wrapped(&pgconn.PgError{Code: "3F000"}), "firstclick migrate"},
		"no grant":              {wrapped(&pgconn.PgError{Code: "42501"}), "docs/operations.md"},
		"no topic":              {wrapped(kerr.UnknownTopicOrPartition), "create the topic"},
		"no ACL":                {wrapped(kerr.TopicAuthorizationFailed), "ACLs"},
		"fenced":                {fmt.Errorf("%w: really", pipeline.ErrFencedAgain), "firstclick.instances"},
		"usage":                 {&UsageError{Command: "firstclick run", Message: "no"}, ""},
		"a gap":                 {&pipeline.GapError{Cure: "run x"}, ""},
		"anything":              {errors.New("broken"), ""},
		"another of Postgres":   {wrapped(&pgconn.PgError{Code: "22012"}), ""},
	} {
		got := withNextStep(row.err)
		if !errors.Is(got, row.err) || row.next == "" && got.Error() != row.err.Error() ||
			!strings.Contains(got.Error(), row.next) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if withNextStep(nil) != nil {
		t.Error("an error of nothing")
	}
	var line strings.Builder
	PrintError(&line, environment(nil), errors.Join(errors.New("first"), syscall.ECONNREFUSED))
	if line.String() != "firstclick: first connection refused\n" {
		t.Errorf("got %q", line.String())
	}
}
