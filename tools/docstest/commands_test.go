package docstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/cdc"
	"firstclick/internal/cli"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// openBed is a bed where nobody is kept from anything, with what a run of the usual history leaves.
func openBed(t *testing.T) *bed {
	t.Helper()
	b := newBed(t, pgtest.StartTemporary(t))
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	b.vars = map[string]string{"DATABASE_URL": b.dsn, "KAFKA_BROKERS": strings.Join(brokers, ",")}
	b.client(brokers)
	b.history()
	// those that pages ask about
	for i, id := range []string{"CHECKOUT_ID", "5f0c3c3e-6c55-4a9f-9b7e-0d3b0f6f2a11",
		"-an-id-that-begins-with-a-hyphen"} {
		b.checkout(id, 1, 1+float64(i), "12.5")
	}
	b.must("run", "--until-caught-up", "--listen", "127.0.0.1:0")
	// Pages speak of the publication of a job at work; a run may have caught up before its mirror
	// has made it.
	if err := cdc.EnsurePublication(t.Context(), b.owner); err != nil {
		t.Fatal(err)
	}
	return b
}

// Every command of every page, and of every help text, runs or is what its program takes.
func TestCommands(t *testing.T) {
	all := append(pages(t), helps(t)...)
	s := newShell(t, openBed(t))
	t.Chdir(t.TempDir())
	if err := os.WriteFile("mended.json",
		[]byte(`{"checkout_id":"mended","user_id":2,"product_id":"p","datetime_occured":"2026-11-23 10:00:00"}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(s.programs))
	for name := range s.programs {
		names = append(names, regexp.QuoteMeta(name))
	}
	command := regexp.MustCompile(`^(` + strings.Join(names, "|") + `) \S`)
	for _, p := range all {
		for _, block := range p.blocks {
			where := fmt.Sprintf("%s:%d", p.name, block.line)
			switch block.lang {
			case "sh":
				s.run(where, block.text)
			case "sql", "yaml", "toml", "json", "ini": // sql has a test of its own
			case "", "text":
				for line := range strings.Lines(block.text) {
					if command.MatchString(strings.TrimPrefix(strings.TrimSpace(line), "$ ")) {
						t.Errorf("%s: holds a command, but is not fenced as sh: %s", where, line)
					}
				}
			default:
				t.Errorf("%s: nobody checks blocks of %s", where, block.lang)
			}
		}
		for _, span := range p.spans {
			if command.MatchString(span.text) && !strings.Contains(span.text, "...`") {
				for _, one := range alternatives(span.text) {
					s.run(fmt.Sprintf("%s:%d", p.name, span.line), one)
				}
			}
		}
	}
	t.Logf("%d commands of firstclick ran, %d commands were held against what would run them", s.executed.Load(),
		s.checked.Load())
	if s.executed.Load() < 20 || s.checked.Load() < 20 {
		t.Error("that is fewer than there are: the pages are not read as they should be")
	}
}

// alternatives spells "a b|c" out: "a b" and "a c". A pipe has blanks around it.
func alternatives(text string) []string {
	m := regexp.MustCompile(`[a-z]+(\|[a-z]+)+`).FindStringIndex(text)
	if m == nil {
		return []string{text}
	}
	var all []string
	for _, word := range strings.Split(text[m[0]:m[1]], "|") {
		all = append(all, text[:m[0]]+word+text[m[1]:])
	}
	return all
}

// helps are the examples of every command's help, as pages.
func helps(t *testing.T) (all []page) {
	t.Helper()
	var visit func(path []string)
	visit = func(path []string) {
		text := helpOf(t, path)
		_, rest, _ := strings.Cut(text, "Examples:\n")
		examples, rest, _ := strings.Cut(rest, "\n\n")
		all = append(all, page{name: "firstclick " + strings.Join(path, " ") + " --help",
			blocks: []block{{lang: "sh", text: examples + "\n"}}})
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+) `).FindAllStringSubmatch(rest, -1) {
			if m[1] != "help" && m[1] != "completion" && m[1] != "man" { // they speak to shells and pagers
				visit(append(slices.Clone(path), m[1]))
			}
		}
	}
	visit(nil)
	return all
}

func helpOf(t *testing.T, path []string) string {
	t.Helper()
	var out strings.Builder
	err := cli.Run(t.Context(), append(slices.Clone(path), "--help"),
		cli.Streams{Out: &out, Err: &out, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// SQL of the pages runs on the database as it is after a run.
func TestSQL(t *testing.T) {
	b := openBed(t)
	b.freshLetters()
	statement := regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE|ALTER|CREATE|DROP|GRANT|REVOKE|TRUNCATE|VACUUM) ` +
		`\S+ \S`)
	ran := 0
	for _, p := range pages(t) {
		for _, block := range p.blocks {
			if block.lang == "sql" {
				ran++
				if err := b.tries(block.text); err != nil {
					t.Errorf("%s:%d: %v", p.name, block.line, err)
				}
			}
		}
		for _, span := range p.spans {
			// with dots it is no statement, but a kind of
			if statement.MatchString(span.text) && !strings.Contains(span.text, "...") {
				ran++
				if err := b.tries(span.text); err != nil {
					t.Errorf("%s:%d: %v", p.name, span.line, err)
				}
			}
		}
	}
	t.Logf("%d blocks and statements ran", ran)
}

// tries runs statements in a transaction that is rolled back; those that cannot be in one run by
// themselves. The role of the pages is there.
func (b *bed) tries(sql string) error {
	ctx := b.t.Context()
	tx, err := b.owner.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if !strings.Contains(sql, "CREATE ROLE firstclick") {
		if _, err := tx.Exec(ctx,
			`CREATE ROLE firstclick LOGIN; CREATE ROLE firstclick_replication LOGIN`); err != nil {
			return err
		}
	}
	if strings.Contains(sql, "rds_replication") { // Amazon's
		if _, err := tx.Exec(ctx, `CREATE ROLE rds_replication`); err != nil {
			return err
		}
	}
	if strings.Contains(sql, "CREATE PUBLICATION firstclick_users") {
		if _, err := tx.Exec(ctx, `DROP PUBLICATION firstclick_users`); err != nil {
			return err
		}
	}
	for _, one := range statements(sql) {
		alone := regexp.MustCompile(`^(ALTER SYSTEM|VACUUM|CREATE DATABASE)|CONCURRENTLY`).MatchString(one)
		if !alone {
			_, err = tx.Exec(ctx, one)
		} else {
			var other *pgx.Conn
			if other, err = pgx.Connect(ctx, b.dsn); err == nil {
				_, err = other.Exec(ctx, one)
				err = errors.Join(err, other.Close(ctx))
			}
		}
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) {
			return fmt.Errorf("%s: %s", one, pgErr.Message)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// The table of flags in operations.md is that of the program: no flag, variable or default is
// missing or made up.
func TestFlags(t *testing.T) {
	help := helpOf(t, []string{"run"})
	text := onePage(t, "docs/operations.md").text
	row := regexp.MustCompile("(?m)^\\| (`--[^|]*) \\|([^|]*)\\|")
	word := regexp.MustCompile("`([^`]+)`")
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		var flags []string
		for _, w := range word.FindAllStringSubmatch(m[1], -1) {
			flags = append(flags, w[1])
			documented[w[1]] = true
			if !regexp.MustCompile(`(?m)^ +` + w[1] + `[ \[]`).MatchString(help) {
				t.Errorf("run has no flag %s", w[1])
			}
		}
		for _, v := range word.FindAllStringSubmatch(m[2], -1) {
			if !regexp.MustCompile(`(?m)^ +(` + strings.Join(flags, "|") + `)[ \[].*[\[ ]` + v[1] +
				`[\],]`).MatchString(help) {
				t.Errorf("%s is not read from %s", strings.Join(flags, ", "), v[1])
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(--[a-z-]+)`).FindAllStringSubmatch(help, -1) {
		if !documented[m[1]] && m[1] != "--help" {
			t.Errorf("docs/operations.md does not list %s", m[1])
		}
	}
}

// A flag or a metric that a page names exists.
func TestNames(t *testing.T) {
	var known strings.Builder
	for _, p := range helps(t) {
		path := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(p.name, "firstclick "), "--help"))
		known.WriteString(helpOf(t, path))
	}
	metrics := sources(t, "pipeline", "docker/prometheus", "internal/cli", "migrations", "internal/kafkatest")
	flag, metric := regexp.MustCompile(`^(--[a-z][a-z-]+)([ =][A-Za-z]+)?$`), regexp.MustCompile(`^firstclick_[a-z_]+$`)
	foreign := []string{"--rapid", "--no-print-directory"}
	for _, p := range pages(t) {
		for _, span := range p.spans {
			if m := flag.FindStringSubmatch(span.text); m != nil && !slices.Contains(foreign, m[1]) &&
				!regexp.MustCompile(m[1]+`[ \[=]`).MatchString(known.String()) {
				t.Errorf("%s:%d: no command has a flag %s", p.name, span.line, m[1])
			}
			if metric.MatchString(span.text) && span.text != "firstclick_users" && span.text != "firstclick_" &&
				!strings.Contains(metrics,
					regexp.MustCompile(`^firstclick_|_(total|bucket|sum|count)$`).ReplaceAllString(span.text, "")) {
				t.Errorf("%s:%d: there is no metric %s", p.name, span.line, span.text)
			}
		}
	}
}

// sources is the text of all files in directories of the repository.
func sources(t *testing.T, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

func (b *bed) client(brokers []string, opts ...kgo.Opt) {
	b.t.Helper()
	var err error
	if b.kafka, err = kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.kafka.Close)
}
