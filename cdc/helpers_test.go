package cdc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// mirror is a Mirror under test with its database.
type mirror struct {
	*Mirror
	t    *testing.T
	ctx  context.Context
	dsn  string
	pool *pgxpool.Pool
	log  *syncBuffer
	stop func() // ends Run and waits for it
}

// newMirror makes a mirror that does not run yet.
func newMirror(t *testing.T, dsn string, cfg Config) *mirror {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	log := &syncBuffer{}
	cfg.Database = dsn
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	m, err := New(cfg, pool)
	if err != nil {
		t.Fatal(err)
	}
	m.tuning.status = 100 * time.Millisecond
	m.tuning.silent = 300
	m.tuning.backoff = 5 * time.Millisecond
	m.tuning.watch = 50 * time.Millisecond
	return &mirror{Mirror: m, t: t, ctx: ctx, dsn: dsn, pool: pool, log: log}
}

func (m *mirror) run() *mirror {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var once sync.Once
	m.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				m.t.Errorf("run mirror: %v", err)
			}
		})
	}
	m.t.Cleanup(m.stop)
	return m
}

// standing waits until a stream stands.
func (m *mirror) standing() *mirror {
	m.t.Helper()
	m.until("a stream stands", func() bool { return m.Stats().Connected })
	return m
}

func (m *mirror) until(what string, ok func() bool) {
	m.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			m.t.Fatalf("waited too long until %s; stats %+v; log:\n%s", what, m.Stats(), m.log)
		}
	}
}

func (m *mirror) exec(sql string, args ...any) {
	m.t.Helper()
	if _, err := m.pool.Exec(m.ctx, sql, args...); err != nil {
		m.t.Fatalf("%s: %v", sql, err)
	}
}

// position is the end of the server's log.
func (m *mirror) position() uint64 {
	m.t.Helper()
	var text string
	if err := m.pool.QueryRow(m.ctx, "SELECT pg_logical_emit_message(true, 'test', '')::text").Scan(&text); err != nil {
		m.t.Fatal(err)
	}
	position, err := pglogrepl.ParseLSN(text)
	if err != nil {
		m.t.Fatal(err)
	}
	return uint64(position)
}

// caughtUp waits until all that is committed now has been applied.
func (m *mirror) caughtUp() {
	m.t.Helper()
	position := m.position()
	m.until("the stream has caught up", func() bool {
		s := m.Stats()
		return s.Connected && s.LastLSN >= position
	})
}

func (m *mirror) names(ids ...int32) map[int32]string {
	m.t.Helper()
	names := make(map[int32]string)
	if _, err := m.Names(m.ctx, ids, names); err != nil {
		m.t.Fatal(err)
	}
	return names
}

// want asserts what Names returns.
func (m *mirror) want(want map[int32]string, ids ...int32) {
	m.t.Helper()
	if got := m.names(ids...); !maps.Equal(got, want) {
		m.t.Fatalf("names of %v: %v, want %v", ids, got, want)
	}
}

// wantCached is want, without a query.
func (m *mirror) wantCached(want map[int32]string, ids ...int32) {
	m.t.Helper()
	before := m.Stats().ReadThroughQueries
	m.want(want, ids...)
	if n := m.Stats().ReadThroughQueries - before; n != 0 {
		m.t.Fatalf("%d queries for users that should be cached", n)
	}
}

// table returns all users in Postgres; none if they cannot be read.
func (m *mirror) table() map[int32]string {
	m.t.Helper()
	rows, _ := m.pool.Query(m.ctx,
		"SELECT id::int, "+UsernameSQL+" FROM commerce.users WHERE id <= 2147483647") // its error comes with the rows
	users := make(map[int32]string)
	var id int32
	var name *string
	_, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		if name != nil {
			users[id] = *name
		}
		return nil
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && strings.HasPrefix(pgErr.Code, "42") {
		return nil
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return users
}

func (m *mirror) edition() (edition string) {
	m.t.Helper()
	if err := m.pool.QueryRow(m.ctx, EditionSQL).Scan(&edition); err != nil {
		m.t.Fatal(err)
	}
	return edition
}

func (m *mirror) insert(from, to int) {
	m.t.Helper()
	m.exec(fmt.Sprintf("INSERT INTO commerce.users SELECT i, 'user ' || i, 'password ' || i FROM "+
		"generate_series(%d, %d) i", from, to))
}
