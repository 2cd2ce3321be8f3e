package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/audit"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
)

// patience is how long servers may take to start on a busy machine.
const patience = 2 * time.Minute

// places are the addresses that a demo prints.
type places struct{ kafka, database, page string }

var (
	kafkaLine    = regexp.MustCompile(`Kafka +(localhost:\d+)`)
	databaseLine = regexp.MustCompile(`psql (postgres://\S+)`)
	pageLine     = regexp.MustCompile(`Page +http://(localhost:\d+)`)
)

// listen reads the output of a demo up to its first row.
func listen(t *testing.T, said io.Reader) places {
	t.Helper()
	var all strings.Builder
	var p places
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		line := lines.Text()
		all.WriteString(line + "\n")
		if m := kafkaLine.FindStringSubmatch(line); m != nil {
			p.kafka = m[1]
		}
		if m := databaseLine.FindStringSubmatch(line); m != nil {
			p.database = m[1]
		}
		if m := pageLine.FindStringSubmatch(line); m != nil {
			p.page = m[1]
		}
		if strings.HasPrefix(line, "first row ") {
			t.Log(line)
			go func() { _, _ = io.Copy(io.Discard, said) }() // it must not block; ends with the demo
			return p
		}
	}
	t.Fatalf("the demo ended before its first row: %s", all.String())
	return p
}

// runDemo runs a demo in this process until stop is called, which returns what Run returned.
func runDemo(t *testing.T, dir string) (p places, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, Config{Dir: dir, Listen: "127.0.0.1:0", Out: writer, NewLogger: func(io.Writer) *slog.Logger {
			return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		}})
		if err != nil {
			fmt.Fprintln(writer, err)
		}
		writer.Close()
		done <- err
	}()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			_ = stop()
		}
	})
	return listen(t, reader), stop
}

func count(t *testing.T, dsn string) (rows int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM commerce.attributed_checkouts").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func waitForRows(t *testing.T, dsn string, atLeast int) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		rows := count(t, dsn)
		if rows >= atLeast {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%d rows, want %d", rows, atLeast)
		}
	}
}

func verify(t *testing.T, p places) *audit.Report {
	t.Helper()
	report, err := audit.Verify(t.Context(), audit.Config{
		Kafka: kafkaconn.Config{Brokers: []string{p.kafka}}, Database: p.database,
		ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic, Group: "firstclick", TempDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		var text strings.Builder
		if _, err := report.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
		t.Errorf("verify: %s", text.String())
	}
	return report
}

// A demo goes on after a restart. A second one with the same directory is refused.
func TestGoesOnWhereItWas(t *testing.T) {
	dir := pgtest.Dir(t)
	first, stop := runDemo(t, dir)
	waitForRows(t, first.database, 200)
	var busy *BusyError
	if err := Run(t.Context(), Config{Dir: dir}); !errors.As(err, &busy) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second demo on the directory: %v", err)
	}
	verify(t, first)
	before := count(t, first.database)
	if err := stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}

	second, stop := runDemo(t, dir)
	if rows := count(t, second.database); rows < before {
		t.Errorf("%d rows after the restart, %d before", rows, before)
	}
	waitForRows(t, second.database, before+200)
	report := verify(t, second)
	if report.Rows < int64(before)+200 || report.Unverifiable != 0 {
		t.Errorf(
			"verify looked at %d rows (%d of them unverifiable), there were %d before the restart",
			report.Rows,
			report.Unverifiable,
			before,
		)
	}
	if err := stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// After kill -9 neither Kafka nor Postgres has anything that the other has lost.
func TestGoesOnAfterKill(t *testing.T) {
	dir := pgtest.Dir(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), asDemo+"="+dir)
	said, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p := listen(t, said)
	waitForRows(t, p.database, 100)
	before := count(t, p.database)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed

	after, stop := runDemo(t, dir)
	waitForRows(t, after.database, before+100)
	if report := verify(t, after); report.Rows < int64(before)+100 {
		t.Errorf("verify looked at %d rows, there were %d before the kill", report.Rows, before)
	}
	if err := stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// A Postgres that outlived its demo is stopped.
func TestLeftoverPostgres(t *testing.T) {
	dir := pgtest.Dir(t)
	leftover, err := pgserver.Start(filepath.Join(dir, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		if err := leftover.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := endLeftover(t.Context(), filepath.Join(leftover.Dir, "data"), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(leftover.PID())
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(stopWithin)
	for process.Signal(syscall.Signal(0)) == nil { // its file goes a moment before the process does
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("the leftover still runs")
		}
	}
	// A pid file that names another process has no effect.
	pidFile := fmt.Sprintf("%d\n%s\n1\n%d\n", os.Getpid(), leftover.Dir, leftover.Port)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "postmaster.pid"), []byte(pidFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := endLeftover(t.Context(), data, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// Ctrl-C during the start is in order, and releases the directory.
func TestStoppedWhileStarting(t *testing.T) {
	dir := pgtest.Dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if err := Run(ctx, Config{Dir: dir, Listen: "127.0.0.1:0"}); err != nil {
			t.Fatal(err)
		}
	}
}
