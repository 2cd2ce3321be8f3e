package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"

	"github.com/jackc/pgx/v5"
)

// The error names what Postgres lacks and how to fix it; exit code 1.
func TestPostgresThatIsNotReady(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	refused := func(dsn string, says ...string) {
		t.Helper()
		code, _, log := execute(
			t,
			"run",
			"--until-caught-up",
			"--listen",
			"127.0.0.1:0",
			"--kafka",
			brokers[0],
			"--database",
			dsn,
		)
		if code != exitFailed {
			t.Errorf("exit code %d", code)
		}
		for _, text := range says {
			if !strings.Contains(log, text) {
				t.Errorf("does not say %q: %s", text, log)
			}
		}
	}
	server := pgtest.StartTemporary(t, pgserver.WithConfig(map[string]string{"wal_level": "replica"}))
	refused(server.DSN("postgres"), "wal_level is replica", "ALTER SYSTEM SET wal_level = logical")

	dsn := pgtest.New(t)
	refused(with(t, dsn, func(u *url.URL) { u.Path = "/nowhere" }), "refuses us", "does not exist")
	refused(
		with(t, dsn, func(u *url.URL) { u.User = url.UserPassword("postgres", "guess") }),
		"refuses us",
		"password authentication failed",
	)

	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	role := fmt.Sprintf("plain_%d", os.Getpid())
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN PASSWORD 'pw'; GRANT pg_read_all_data TO "+
		""+role); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(t.Context()),
			"DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	}()
	dsn = with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(role, "pw") })
	code, _, log := execute(
		t,
		"run",
		"--no-migrate",
		"--listen",
		"127.0.0.1:0",
		"--kafka",
		brokers[0],
		"--database",
		dsn,
	)
	if code != exitFailed || !strings.Contains(log, "may not replicate") || !strings.Contains(log, "ALTER ROLE") ||
		strings.Contains(log, "pw@") {
		t.Errorf("exit code %d: %s", code, log)
	}
}

func with(t *testing.T, dsn string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// SIGTERM to a running pipeline: exit code 0. Health and metrics are served until then.
func TestStoppedAtWork(t *testing.T) {
	cmd := command(t, asMain, "run", "--listen", "127.0.0.1:0", "--log-format", "json",
		"--kafka", kafkatest.Fake(t, 2, "clicks", "checkouts")[0], "--database", pgtest.New(t))
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	expect(t, lines, "/readyz and /metrics")
	var line struct{ Address string }
	if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	expect(t, lines, "shard taken over")
	for path, want := range map[string]string{"/livez": "ok", "/metrics": "firstclick_build_info{"} {
		if body := fetch(t, "http://"+line.Address+path); !strings.Contains(body, want) {
			t.Errorf("%s: %s", path, body)
		}
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

func fetch(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
