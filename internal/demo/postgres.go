package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firstclick/internal/pgsession"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

const application = "firstclick demo" // of the demo's own sessions

// startPostgres runs Postgres on data in dir, and brings the tables up to date.
func startPostgres(ctx context.Context, dir string, port int, logger *slog.Logger) (*pgtest.Server, error) {
	dir = filepath.Join(dir, "postgres")
	if err := endLeftover(ctx, filepath.Join(dir, "data"), logger); err != nil {
		return nil, err
	}
	server, err := pgtest.Start(dir, pgtest.WithPort(port), pgtest.WithSync(true), pgtest.WithLogger(logger), pgtest.WithConfig(map[string]string{
		// Bounds of the disk: write-ahead log is a few hundred megabytes, and no forgotten slot of a visitor keeps more.
		"max_wal_size":           "256MB",
		"max_slot_wal_keep_size": "512MB",
		"log_min_messages":       "error",
	}))
	if err != nil {
		return nil, err
	}
	if err := prepareTables(ctx, server.DSN(database), logger); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		_ = server.Stop(stopping) // the first error says what is wrong
		return nil, err
	}
	return server, nil
}

func prepareTables(ctx context.Context, dsn string, logger *slog.Logger) error {
	if err := migrations.Up(ctx, dsn, logger); err != nil {
		return err
	}
	conn, err := pgsession.Connect(ctx, dsn, application)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The query that people run orders by this column, and ours does every second.
	_, err = conn.Exec(ctx, "CREATE INDEX IF NOT EXISTS attributed_checkouts_checkout_time ON commerce.attributed_checkouts (checkout_time)")
	if err != nil {
		return fmt.Errorf("index the rows by time: %w", err)
	}
	return nil
}

// endLeftover stops a Postgres that outlived the demo that started it. We hold the directory's lock: whoever runs on these data has
// no owner. That the process is what postmaster.pid says is asked of itself, since process ids are used again.
// https://www.postgresql.org/docs/current/storage-file-layout.html (postmaster.pid)
func endLeftover(ctx context.Context, data string, logger *slog.Logger) error {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil // none, or none that Postgres would see
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 {
		return nil
	}
	pid, errPID := strconv.Atoi(strings.TrimSpace(lines[0]))
	port, errPort := strconv.Atoi(strings.TrimSpace(lines[3]))
	if errPID != nil || errPort != nil || pid <= 1 || !runsOn(ctx, port, data) {
		return nil
	}
	logger.WarnContext(ctx, "a Postgres of an earlier demo still runs here: stopping it", "pid", pid, "port", port)
	if err := interrupt(pid); err != nil {
		return fmt.Errorf("stop the Postgres of an earlier demo, process %d: %w", pid, err)
	}
	// Its file goes last.
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(stopWithin)
	for {
		if now, err := os.ReadFile(filepath.Join(data, "postmaster.pid")); err != nil || !strings.HasPrefix(string(now), lines[0]+"\n") {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			return fmt.Errorf("the Postgres of an earlier demo, process %d, does not end within %s", pid, stopWithin)
		}
	}
}

// runsOn asks the server on the port whether its data is that directory.
func runsOn(ctx context.Context, port int, data string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a stranger on the port may say nothing, and a busy machine takes a while
	defer cancel()
	conn, err := pgsession.Connect(ctx, databaseURL(port)+"?sslmode=disable", application)
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	var directory string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&directory); err != nil {
		return false
	}
	theirs, errTheirs := os.Stat(directory)
	ours, errOurs := os.Stat(data)
	return errTheirs == nil && errOurs == nil && os.SameFile(theirs, ours)
}

// databaseURL is what people paste.
func databaseURL(port int) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", "postgres"), Host: "localhost:" + strconv.Itoa(port), Path: "/" + database}
	return u.String()
}
