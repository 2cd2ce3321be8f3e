package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

// standby is an old copy of a server's data: what an asynchronous standby has when its primary is
// lost.
func standby(t testing.TB, s *pgserver.Server) (promote func()) {
	t.Helper()
	data, kept := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "kept")
	copyDir := func(from, to string) {
		t.Helper()
		if out, err := osexec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", from, err, out)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	copyDir(data, kept)
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(s.Kill(), os.RemoveAll(data)); err != nil {
			t.Fatal(err)
		}
		copyDir(kept, data)
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// look queries a server that may be away.
func look(t testing.TB, dsn, sql string) int64 {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return -1
	}
	defer func() { _ = conn.Close(ctx) }()
	var n int64
	if conn.QueryRow(ctx, sql).Scan(&n) != nil {
		return -1
	}
	return n
}

// Postgres fails over to a standby that lost the last transactions: rows, a correction, a dead
// letter and their positions. The pipeline writes all of it again by itself.
func TestFailoverThatLostTheTail(t *testing.T) {
	server := pgtest.StartTemporary(t)
	dsn := server.DSN("postgres")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	at := time.Now().Add(-time.Minute)
	pairs := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			kafkatest.Produce(t, brokers, "clicks", int32(n%2),
				values(click(fmt.Sprint("c", n), 1, fmt.Sprint("p", n), stamp(at, 10)))...)
			kafkatest.Produce(t, brokers, "checkouts", int32(n%2),
				values(checkout(fmt.Sprint("k", n), 1, fmt.Sprint("p", n), "1", stamp(at, 11)))...)
		}
	}
	const rows, dead = `SELECT count(*) FROM commerce.attributed_checkouts
		WHERE click_id IS NOT NULL`, `SELECT count(*) FROM firstclick.dead_letters`
	const corrected = `SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = 'k0'
		AND click_id = 'earlier'`
	wait := func(what, sql string, want int64) {
		t.Helper()
		eventually(t, what, func() bool { return look(t, dsn, sql) == want })
	}
	log := &heard{}
	cfg := testConfig(t, brokers, dsn)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	p := begin(t, cfg)
	pairs(0, 4)
	wait("the first rows", rows, 4)
	promote := standby(t, server)
	pairs(4, 10)
	kafkatest.Produce(t, brokers, "clicks", 1, values(click("earlier", 1, "p0", stamp(at, 5)), `{"broken`)...)
	kafkatest.Produce(t, brokers, "checkouts", 1, values(`{"broken too`)...)
	wait("more rows", rows, 10)
	wait("the correction", corrected, 1)
	wait("the dead letters", dead, 2)

	promote()
	pairs(10, 14)
	wait("every row", rows, 14)
	wait("the correction, again", corrected, 1)
	wait("the dead letters, again", dead, 2)
	p.end()
	if n := look(t, dsn, `SELECT count(*) FROM commerce.attributed_checkouts
		WHERE click_id = 'c' || substr(checkout_id, 2)`); n != 13 {
		t.Errorf("%d of 13 rows have their click", n)
	}
	if !log.has("begin again where Postgres is") {
		t.Errorf("it was not said:\n%s", log.text.String())
	}
}
