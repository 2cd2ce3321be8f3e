package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/audit"
	"firstclick/internal/cli"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
	"firstclick/pipeline"
)

// The variable actAs makes the test program the command itself, or a process that does not end when
// it should.
const (
	actAs      = "FIRSTCLICK_TEST_ACT_AS"
	asMain     = "main"
	asStubborn = "stubborn"
)

func TestMain(m *testing.M) {
	switch os.Getenv(actAs) {
	case asMain:
		main()
	case asStubborn:
		ctx, _ := untilSignal(context.Background())
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("asked")
		select {}
	}
	os.Exit(m.Run())
}

// command returns the binary, without those of our variables that it would read. It is killed if it
// takes far too long, so that a missing line fails the test and does not hang it.
func command(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = []string{
		actAs + "=" + role,
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		"TMPDIR=" + os.Getenv("TMPDIR"),
	}
	return cmd
}

// execute runs the binary to its end.
func execute(t *testing.T, args ...string) (code int, out, log string) {
	t.Helper()
	var outText, logText strings.Builder
	cmd := command(t, asMain, args...)
	cmd.Stdout, cmd.Stderr = &outText, &logText
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), outText.String(), logText.String()
}

func TestExitCodes(t *testing.T) {
	for want, errs := range map[int][]error{
		exitDone:   {nil},
		exitFailed: {errors.New("broken"), context.Canceled, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}},
		exitUsage:  {&cli.UsageError{}, fmt.Errorf("run: %w", &pipeline.ConfigError{Text: "another window"})},
		exitFenced: {fmt.Errorf("%w: the last time", pipeline.ErrFencedAgain)},
		exitGap:    {errors.Join(&pipeline.GapError{Topic: "clicks"}, errors.New("and the port"))},
	} {
		for _, err := range errs {
			if got := exitCode(err); got != want {
				t.Errorf("%v: %d, want %d", err, got, want)
			}
		}
	}
}

func TestUsageIsTwo(t *testing.T) {
	for _, args := range []string{"run --frobnicate", "run now", "explode", "run --window soon"} {
		code, out, log := execute(t, strings.Fields(args)...)
		if code != exitUsage || out != "" || strings.Count(log, "\n") != 1 || !strings.HasPrefix(log, "firstclick: ") {
			t.Errorf("%s: exit code %d, out %q, log %q", args, code, out, log)
		}
	}
	if code, out, log := execute(t, "version"); code != exitDone || !strings.HasPrefix(out, "firstclick ") ||
		log != "" {
		t.Errorf("version: exit code %d, out %q, log %q", code, out, log)
	}
}

// expect reads lines until one contains the text.
func expect(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("never said %q, but %q", text, seen)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := command(t, asStubborn)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		expect(t, lines, "ready")
		// Two signals at once count as one: wrappers send them so.
		if err := errors.Join(cmd.Process.Signal(signal), cmd.Process.Signal(signal)); err != nil {
			t.Fatal(err)
		}
		expect(t, lines, "asked")
		// Until it ends: signals within the first moment count as the first.
		ticker := time.NewTicker(50 * time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for began := time.Now(); ; {
			select {
			case <-ticker.C:
				if time.Since(began) > time.Minute {
					t.Fatal("it does not end")
				}
				_ = cmd.Process.Signal(signal) // may be gone already
				continue
			case <-ended:
			}
			break
		}
		ticker.Stop()
		if code := cmd.ProcessState.ExitCode(); code != 128+int(signal) {
			t.Errorf("%s twice: exit code %d", signal, code)
		}
	}
}

// A stop while it waits for Kafka and Postgres is in order.
func TestStoppedWhileWaiting(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cmd := command(
		t,
		asMain,
		"run",
		"--listen",
		"127.0.0.1:0",
		"--kafka",
		silent.Addr().String(),
		"--log-format",
		"text",
		"--database",
		"postgres://shop:secret@127.0.0.1:1/shop",
	)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	expect(t, lines, "postgres://shop@127.0.0.1:1/shop")
	if strings.Contains(lines.Text(), "secret") || !strings.Contains(lines.Text(), "connection refused") {
		t.Errorf("said %q", lines.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v: %s", err, rest)
	}
}

func TestTakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, _, log := execute(t, "run", "--listen", taken.Addr().String())
	if code != exitFailed || !strings.Contains(log, "address already in use") || !strings.Contains(log, "--listen") {
		t.Errorf("exit code %d: %s", code, log)
	}
}

// The steps of a new user with servers of their own: tables, events, rows, verification. Then a row
// is changed by hand, and verify reports it.
func TestGenerateRunVerify(t *testing.T) {
	brokers := strings.Join(kafkatest.FakeCluster(t).ListenAddrs(), ",")
	dsn := pgtest.Empty(t)
	servers := []string{"--kafka", brokers, "--database", dsn}
	must := func(args ...string) string {
		t.Helper()
		code, out, log := execute(t, append(args, servers...)...)
		if code != exitDone {
			t.Fatalf("%q: exit code %d: %s", args, code, log)
		}
		return out
	}
	if code, out, log := execute(t, "migrate", "--database", dsn); code != exitDone {
		t.Fatalf("migrate: exit code %d: %s%s", code, out, log)
	}
	if _, out, _ := execute(t, "migrate", "--status", "--database", dsn); strings.Contains(out, "missing") ||
		!strings.Contains(out, "00002_firstclick.sql") {
		t.Errorf("migrate --status: %s", out)
	}
	if out := must("generate", "--rate", "0", "--count", "3000", "--seed", "7", "--poison", "0.01", "--partitions",
		"2"); !strings.Contains(
		out,
		"seed 7",
	) {
		t.Errorf("generate: %s", out)
	}
	must("run", "--until-caught-up", "--listen", "127.0.0.1:0")

	var report audit.Report
	if err := json.Unmarshal([]byte(must("verify", "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.Verdict != audit.VerdictGreen || report.Judged != report.Rows || report.Rows < 900 ||
		report.Pending() != 0 ||
		len(report.DeadLetters) == 0 {
		t.Errorf("verify: %+v", report)
	}

	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `DELETE FROM commerce.attributed_checkouts
		WHERE checkout_id = (SELECT min(checkout_id) FROM commerce.attributed_checkouts)`); err != nil {
		t.Fatal(err)
	}
	code, out, log := execute(t, append([]string{"verify"}, servers...)...)
	if code != exitFailed || !strings.Contains(out, "missing") || !strings.Contains(log, "see the report") {
		t.Errorf("verify of a table that lacks a row: exit code %d: %s%s", code, out, log)
	}
	code, out, log = execute(t, append([]string{"verify", "--group", "typo"}, servers...)...)
	if code != exitUnsure || !strings.Contains(out, "CANNOT TELL") || !strings.Contains(log, "cannot tell") {
		t.Errorf("verify of a group that does not exist: exit code %d: %s%s", code, out, log)
	}
	// Rows of two windows would be in one table.
	code, _, log = execute(
		t,
		append([]string{"run", "--until-caught-up", "--listen", "127.0.0.1:0", "--window", "2h"}, servers...)...)
	if code != exitUsage || !strings.Contains(log, "--window") {
		t.Errorf("run with another window: exit code %d: %s", code, log)
	}
}
