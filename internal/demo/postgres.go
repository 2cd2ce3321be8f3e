package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgsession"
	"firstclick/migrations"
)

const application = "firstclick demo" // of the demo's own sessions

// startPostgres runs Postgres with its data in dir, and brings the tables up to date.
func startPostgres(ctx context.Context, dir string, port int, logger *slog.Logger) (*pgserver.Server, error) {
	dir = filepath.Join(dir, "postgres")
	if err := endLeftover(ctx, filepath.Join(dir, "data"), logger); err != nil {
		return nil, err
	}
	config := map[string]string{
		"max_wal_size":           "256MB",
		"max_slot_wal_keep_size": "512MB", // a forgotten slot must not fill the disk
		"log_min_messages":       "error",
	}
	server, err := pgserver.Start(dir, pgserver.WithPort(port), pgserver.WithSync(), pgserver.WithLogger(logger),
		pgserver.WithConfig(config))
	if err != nil {
		return nil, err
	}
	prepare := func(dsn string) error {
		if err := migrations.Up(ctx, dsn, logger); err != nil {
			return err
		}
		conn, err := pgsession.Connect(ctx, dsn, application)
		if err != nil {
			return fmt.Errorf("connect to Postgres: %w", err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		// The query in the greeting and that of the table order by this column.
		if _, err := conn.Exec(ctx, `CREATE INDEX IF NOT EXISTS attributed_checkouts_checkout_time
			ON commerce.attributed_checkouts (checkout_time)`); err != nil {
			return fmt.Errorf("index the rows by time: %w", err)
		}
		return nil
	}
	if err := prepare(server.DSN(database)); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		return nil, errors.Join(err, server.Stop(stopping))
	}
	return server, nil
}

// endLeftover stops a Postgres that outlived its demo. We hold the lock of the directory, so that
// no running demo owns it. Process ids are used again: the server itself confirms that it has the
// data. https://www.postgresql.org/docs/current/storage-file-layout.html (postmaster.pid)
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
	waiting, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	ended := false
	every(waiting, 20*time.Millisecond, func() bool { // it removes the file last
		now, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		ended = err != nil || !strings.HasPrefix(string(now), lines[0]+"\n")
		return !ended
	})
	switch {
	case ended:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("the Postgres of an earlier demo, process %d, does not end within %s", pid, stopWithin)
}

// runsOn says whether the server on the port has its data in that directory.
func runsOn(ctx context.Context, port int, data string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
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

// databaseURL returns the connection string for people.
func databaseURL(port int) string {
	return fmt.Sprintf("postgres://postgres:postgres@localhost:%d/%s", port, database)
}
