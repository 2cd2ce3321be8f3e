package docstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"firstclick/internal/cli"
)

// shell runs commands as a page has them, pipes and redirections included. Nothing of it leaves
// this process but make -n: who runs a command is looked up in programs.
type shell struct {
	t        *testing.T
	bed      *bed
	top      string // absolute
	programs map[string]program
	ran      map[string]bool // lines that ran before: a page may say a thing twice
	executed atomic.Int64    // commands of firstclick that did all they do
	// likewise, a pipe runs two at a time; commands that were only held against what would run them
	checked atomic.Int64
}

// program runs a command, or checks it where it cannot run in a test.
type program func(ctx context.Context, args []string) error

func newShell(t *testing.T, b *bed) *shell {
	t.Helper()
	dir, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, bed: b, top: dir, ran: map[string]bool{}}
	s.programs = s.known()
	return s
}

// run runs a block's commands one after the other. Each finds the same dead letters.
func (s *shell) run(where, text string) {
	s.t.Helper()
	file, err := syntax.NewParser(syntax.KeepComments(false)).Parse(strings.NewReader(text), where)
	if err != nil {
		s.t.Errorf("%s: no shell command: %v", where, err)
		return
	}
	for _, stmt := range file.Stmts {
		var line strings.Builder
		if err := syntax.NewPrinter().Print(&line, stmt); err != nil {
			s.t.Fatal(err)
		}
		if s.ran[line.String()] {
			continue
		}
		s.ran[line.String()] = true
		s.bed.exec(`DELETE FROM firstclick.dead_letters WHERE id BETWEEN 17 AND 20`)
		if strings.Contains(line.String(), "dead-letters") {
			s.bed.freshLetters()
		}
		var out, log strings.Builder
		runner, err := interp.New(interp.StdIO(nil, &out, &log),
			interp.Env(expand.ListEnviron("HOME=/nonexistent", "HOSTNAME=here", "USER=you")),
			interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.command }),
			interp.OpenHandler(s.open))
		if err != nil {
			s.t.Fatal(err)
		}
		if err := runner.Run(s.t.Context(), stmt); err != nil {
			s.t.Errorf("%s: %s\n%v\n%s%s", where, line.String(), err, log.String(), out.String())
		}
	}
}

// open opens what is redirected: files of the test's own directory, where everything runs.
func (s *shell) open(_ context.Context, path string, flag int, mode os.FileMode) (io.ReadWriteCloser, error) {
	if path == "/dev/null" || filepath.IsLocal(path) {
		return os.OpenFile(path, flag, mode)
	}
	return nil, fmt.Errorf("a page writes to or reads from %s", path)
}

func (s *shell) command(ctx context.Context, args []string) error {
	run, known := s.programs[args[0]]
	if !known {
		return fmt.Errorf("%s: neither run nor checked by any test: say in tools/docstest how", args[0])
	}
	if err := run(ctx, args[1:]); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// firstclick checks a command against the real command line, and runs it unless it would not end.
func (s *shell) firstclick(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	help, err := s.help(ctx, args)
	if err != nil {
		return err
	}
	hc.Env.Each(func(name string, v expand.Variable) bool {
		known := slices.Contains([]string{"HOME", "HOSTNAME", "USER", "PWD", "UID", "EUID", "GID", "IFS", "OPTIND"},
			name) || strings.HasPrefix(name, "PG")
		if v.Exported && !known && !regexp.MustCompile(`[\[ ]`+name+`[\],]`).MatchString(help) {
			err = fmt.Errorf("%s is no variable of this command", name)
			return false
		}
		return true
	})
	if err != nil {
		return err
	}
	args = s.here(args)
	if slices.Contains([]string{"explain", "dead-letters show", "dead-letters retry", "dead-letters drop"},
		strings.Join(args, " ")) {
		s.checked.Add(1) // spoken of
		return nil
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch name {
	case "demo", "healthcheck": // the first one does not end; the second one asks an instance
		s.checked.Add(1)
		return nil
	case "run":
		s.checked.Add(1)
		if strings.Contains(help, "--dry-run") {
			args = append(args, "--dry-run")
			break
		}
		return nil
	case "completion", "man": // for shells and pagers, which read them in internal/cli
		s.checked.Add(1)
		return nil
	case "compare", "whatif": // the pages' names of other people's tables
		s.bed.exec(`CREATE SCHEMA IF NOT EXISTS legacy; CREATE SCHEMA IF NOT EXISTS scratch;
			CREATE OR REPLACE VIEW legacy.attributed AS SELECT * FROM commerce.attributed_checkouts`)
	case "generate":
		args = append(args, "--count", "20", "--rate", "0")
	case "doctor": // it looks at the newest records, and a page's generate may have left one that is from the future
		s.bed.click("of now", 1, time.Since(s.bed.at).Minutes())
		s.bed.click("of now", 2, time.Since(s.bed.at).Minutes())
	}
	s.executed.Add(1)
	return cli.Run(ctx, args, cli.Streams{In: hc.Stdin, Out: hc.Stdout, Err: hc.Stderr,
		Env: func(name string) (string, bool) {
			v, ok := s.bed.vars[name]
			return v, ok
		}})
}

// help is what --help says after the flags have been read, which fails where one does not exist or
// its value is none.
func (s *shell) help(ctx context.Context, args []string) (string, error) {
	var out strings.Builder
	asking := slices.Clone(args)
	if end := slices.Index(asking, "--"); end >= 0 {
		asking = slices.Insert(asking, end, "--help")
	} else {
		asking = append(asking, "--help")
	}
	err := cli.Run(ctx, asking, cli.Streams{Out: &out, Err: &out,
		Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		return "", err
	}
	if !strings.Contains(out.String(), "Usage:") {
		return "", errors.New("--help does not say how it is used")
	}
	return out.String(), nil
}

// here leaves out where Kafka and Postgres are, and what a group was begun with: the test's own are
// meant.
func (s *shell) here(args []string) (kept []string) {
	elsewhere := regexp.MustCompile(`^--(kafka|kafka-[a-z]+|database|group|listen-auth-file|config)(=|$)`)
	for i := 0; i < len(args); i++ {
		if !elsewhere.MatchString(args[i]) {
			kept = append(kept, args[i])
		} else if !strings.Contains(args[i], "=") && args[i] != "--kafka-tls" {
			i++
		}
	}
	return kept
}

// freshLetters makes the dead letters that pages speak of, beside those that the run has left.
func (b *bed) freshLetters() {
	b.t.Helper()
	b.exec(`INSERT INTO firstclick.dead_letters
			(id, group_id, topic, partition, "offset", reason, detail, payload, payload_size, record_time, created_at)
			OVERRIDING SYSTEM VALUE
		SELECT id, 'firstclick', 'checkouts', 0, 1000 + id, reason, '', convert_to(payload, 'UTF8'), length(payload),
			now(), now() - age
		FROM (VALUES (17, 'refused', $1, interval '1 hour'), (18, 'json', '{', '1 hour'), (19, 'empty', '', '2 days'),
			(20, 'amount', '{}', '3 days')) l (id, reason, payload, age)`,
		`{"checkout_id":"of letter 17","user_id":2,"product_id":"p","total_amount":1e30,`+
			`"datetime_occured":"2026-11-23 10:00:00"}`)
}
