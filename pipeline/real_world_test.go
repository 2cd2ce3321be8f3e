//go:build realkafka

package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/audit"
	"firstclick/internal/childproc"
	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
	"firstclick/pipeline"
)

// world is one test's topics and group on the real broker, and its database.
type world struct {
	t                        testing.TB
	brokers                  []string
	dsn                      string
	conn                     *pgx.Conn
	clicks, checkouts, group string
}

// newWorld makes topics with so many partitions.
func newWorld(t testing.TB, dsn string, clicks, checkouts int32) *world {
	t.Helper()
	w := &world{
		t: t, brokers: []string{kafkatest.Real(t)}, dsn: dsn, conn: connect(t, dsn),
		clicks: kafkatest.Name(t, "clicks"), checkouts: kafkatest.Name(t, "checkouts"),
		group: kafkatest.Name(t, "group"),
	}
	if clicks > 0 {
		kafkatest.CreateTopics(t, w.brokers, clicks, nil, w.clicks)
	}
	if checkouts > 0 {
		kafkatest.CreateTopics(t, w.brokers, checkouts, nil, w.checkouts)
	}
	return w
}

// durable is a migrated database on a server that waits for its disk.
func durable(t testing.TB) string {
	t.Helper()
	dsn := pgtest.StartTemporary(t, pgserver.WithSync(),
		pgserver.WithConfig(map[string]string{"shared_buffers": "256MB"})).DSN("postgres")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// config is that of a pipeline in this process.
func (w *world) config() pipeline.Config {
	cfg := testConfig(w.t, w.brokers, w.dsn)
	cfg.ClicksTopic, cfg.CheckoutsTopic, cfg.Group = w.clicks, w.checkouts, w.group
	return cfg
}

// generation is a running generator.
type generation struct {
	stop  context.CancelFunc
	ended chan struct{}
	sum   datagen.Summary
	err   error
}

func (w *world) generate(cfg datagen.Config) *generation {
	cfg.Kafka, cfg.ClicksTopic, cfg.CheckoutsTopic = kafkaconn.Config{Brokers: w.brokers}, w.clicks, w.checkouts
	cfg.ConnectTimeout, cfg.StopTimeout = time.Minute, time.Minute
	ctx, stop := context.WithCancel(w.t.Context())
	g := &generation{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		g.sum, g.err = datagen.Run(ctx, cfg)
	}()
	w.t.Cleanup(func() { stop(); <-g.ended })
	return g
}

// wait returns what was sent.
func (g *generation) wait(t testing.TB) datagen.Summary {
	t.Helper()
	<-g.ended
	if g.err != nil {
		t.Fatalf("generate: %v", g.err)
	}
	return g.sum
}

// verify recomputes all rows from Kafka with audit's code. Nothing may be wrong, pending or
// explained.
func (w *world) verify() *audit.Report {
	w.t.Helper()
	r, err := audit.Verify(w.t.Context(), audit.Config{
		Kafka: kafkaconn.Config{Brokers: w.brokers}, Database: w.dsn, ClicksTopic: w.clicks,
		CheckoutsTopic: w.checkouts, Group: w.group,
		TempDir: w.t.TempDir(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatalf("verify: %v", err)
	}
	w.t.Logf("verify: %d clicks, %d checkouts (%d duplicates), %d rows (%d with a click), dead letters %v: missing "+
		"%d, extra %d, different %d",
		r.Clicks, r.Checkouts, r.Duplicates, r.Rows, r.Attributed, r.DeadLetters, r.Missing, r.Extra, r.Different)
	if !r.OK() || r.Pending() != 0 || r.Explained != 0 || r.Unverifiable != 0 || r.ExpectedDigest != r.ActualDigest {
		w.t.Errorf("verify: %+v", *r)
	}
	return r
}

// binary builds the command.
func binary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firstclick")
	out, err := osexec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path,
		"firstclick").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return path
}

// program is the built command, running. It ends with the test process, however that ends.
type program struct {
	*childproc.Process
	t   testing.TB
	log string
}

// start runs the command with the flags that say where things are, and args.
func (w *world) start(bin string, args ...string) *program {
	w.t.Helper()
	log, err := os.CreateTemp(w.t.TempDir(), "log-")
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	args = append([]string{
		bin, "run", "--kafka", strings.Join(w.brokers, ","), "--clicks-topic", w.clicks, "--checkouts-topic",
		w.checkouts,
		"--group", w.group, "--listen", "127.0.0.1:0", "--log-format", "json",
	}, args...)
	process, err := childproc.Start(childproc.Config{
		Args: args, Log: log, EndSignal: "KILL",
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + w.t.TempDir(),
			"DATABASE_URL=" + w.dsn, "GODEBUG=" + os.Getenv("GODEBUG")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p := &program{Process: process, t: w.t, log: log.Name()}
	w.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("its last words: %s", p.said(3000))
		}
	})
	return p
}

func (p *program) kill() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), patience)
	defer cancel()
	if err := errors.Join(p.Signal(syscall.SIGKILL), p.Wait(ctx)); err != nil {
		p.t.Errorf("kill: %v", err)
	}
}

// alive fails the test when the program ended by itself.
func (p *program) alive() {
	p.t.Helper()
	if p.Ended(0) {
		p.t.Fatalf("the program ended by itself: %v\n%s", p.Result(), p.said(3000))
	}
}

// done waits until the program has ended, in good order.
func (p *program) done(limit time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		p.t.Fatalf("%v\n%s", err, p.said(3000))
	}
	if err := p.Result(); err != nil {
		p.t.Fatalf("ended with %v\n%s", err, p.said(3000))
	}
}

// said is the end of the log; 0: all of it.
func (p *program) said(last int) []byte {
	p.t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	if last > 0 && len(b) > last {
		b = b[bytes.IndexByte(b[len(b)-last:], '\n')+len(b)-last+1:]
	}
	return b
}

// saidAbout says whether the log holds a text.
func (p *program) saidAbout(text string) bool {
	p.t.Helper()
	return bytes.Contains(p.said(0), []byte(text))
}

// number is a positive number from the environment, or fallback.
func number(t testing.TB, variable string, fallback int64) int64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		t.Fatalf("%s is %q: want a number above 0", variable, text)
	}
	return n
}

// commits is how many transactions all shards of the group have committed.
func (w *world) commits() int64 {
	w.t.Helper()
	return count(w.t, w.conn, `SELECT coalesce(sum(commits), 0)::bigint FROM firstclick.offsets
		WHERE group_id = $1`, w.group)
}

// owned is how many shards an instance owns.
func (w *world) owned(instance string) int64 {
	w.t.Helper()
	return count(w.t, w.conn, `SELECT count(*) FROM firstclick.offsets WHERE group_id = $1 AND instance = $2
		AND owner IS NOT NULL`, w.group, instance)
}
