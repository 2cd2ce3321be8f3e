package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"firstclick/internal/pgsession"
	"firstclick/join/event"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	commitSessions = 4 // each Commit uses one
	// spareSessions are kept beside those, so that a takeover or a heartbeat never waits for a
	// long COPY.
	spareSessions = 2
)

// applicationName matches names that Postgres does not change: it cuts at 63 bytes and replaces
// what is not printable ASCII. A takeover would not find a changed name.
// https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME
var applicationName = regexp.MustCompile(`^[[:print:]]{1,63}$`)

// Sink writes to Postgres. Its methods may be called concurrently, Commit for disjoint sets of
// shards.
type Sink struct {
	application string
	names       Names
	log         *slog.Logger
	clock       Clock
	pool        *pgxpool.Pool
	commits     chan struct{} // a token for each Commit that is under way

	target atomic.Pointer[target] // as it was last described

	recentIDs        recentIDs
	duplicates       duplicateHistory // of rows
	letterDuplicates duplicateHistory

	payloads     *Payloads
	metrics      *Metrics
	failure      failure
	lost         lostSessions
	refusedNames sync.Map // users whose names Postgres refuses: each is logged once

	goneLimit time.Duration
}

// New reads the configuration. It opens no connection.
func New(cfg Config, names Names) (*Sink, error) {
	if names == nil {
		return nil, errors.New("sink: no source of names")
	}
	if !applicationName.MatchString(cfg.Application) {
		return nil, fmt.Errorf("sink: application name %q: want 1 to 63 characters of printable ASCII", cfg.Application)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Payloads == 0 {
		cfg.Payloads = 64 << 20
	}
	s := &Sink{
		application: cfg.Application,
		names:       names,
		log:         cfg.Logger,
		clock:       cfg.Clock,
		commits:     make(chan struct{}, commitSessions),
		metrics:     cfg.Metrics,
		goneLimit:   goneLimit,
		payloads: &Payloads{
			clock: cfg.Clock, log: cfg.Logger, most: cfg.Payloads,
			kept: map[event.Reason]int64{}, leftOut: cfg.Metrics.leftOut,
		},
	}
	pool, err := pgsession.PoolConfig(cfg.Database, cfg.Application, commitSessions+spareSessions)
	if err != nil {
		return nil, err
	}
	// A ping before each use would be a round trip per commit. The first use of a session that died
	// notices it, and it is replaced.
	pool.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
		return p.IdleDuration > 15*time.Second
	}
	pool.PingTimeout = 5 * time.Second
	pool.AfterConnect = s.initSession
	if s.pool, err = pgsession.OpenPool(pool); err != nil {
		return nil, err
	}
	return s, nil
}

// Payloads bounds what is kept of bad records: callers that find some share it.
func (s *Sink) Payloads() *Payloads { return s.payloads }

// Close ends the sessions. No other method may be running or be called afterwards.
func (s *Sink) Close() { s.pool.Close() }

// withConn runs fn with a session, and leaves no transaction open in it.
func (s *Sink) withConn(ctx context.Context, fn func(conn *pgx.Conn) error) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pooled.Release()
	conn := pooled.Conn()
	if err = s.endLost(ctx, conn); err == nil {
		err = fn(conn)
	}
	if conn.IsClosed() {
		s.lost.add(sessionOf(conn.PgConn()))
		if err != nil {
			err = &brokenError{err}
		}
		return err
	}
	if conn.PgConn().TxStatus() != 'I' && ctx.Err() == nil {
		// Its own error does not matter: a session that is not idle is closed by the pool.
		_, _ = conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	}
	return err
}

// run calls fn with a session until it succeeds, fails for good or ctx ends: see retry and
// withConn.
func (s *Sink) run(ctx context.Context, what string, fn func(ctx context.Context, conn *pgx.Conn) error) error {
	return s.retry(ctx, what, func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error { return fn(ctx, conn) })
	})
}

// exec runs one statement that may be run twice.
func (s *Sink) exec(ctx context.Context, what, sql string, args ...any) error {
	return s.run(ctx, what, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
}

// query runs a query that may be run twice.
func query[T any](
	ctx context.Context, s *Sink, what string, scan pgx.RowToFunc[T], sql string, args ...any,
) (found []T, err error) {
	err = s.run(ctx, what, func(ctx context.Context, conn *pgx.Conn) (err error) {
		rows, _ := conn.Query(ctx, sql, args...) // CollectRows returns its error
		found, err = pgx.CollectRows(rows, scan)
		return err
	})
	return found, err
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// failure is why Postgres does not take what is tried; empty once something has succeeded since.
type failure struct {
	mu          sync.Mutex
	text, cause string
}

// set returns the cause before.
func (f *failure) set(cause, text string) (before string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, f.cause, f.text = f.cause, cause, text
	return before
}

// Stats returns the retries since the metrics were made, and why the last one was needed.
func (s *Sink) Stats() Stats {
	s.failure.mu.Lock()
	defer s.failure.mu.Unlock()
	stats := Stats{LastError: s.failure.text, Retries: map[string]int64{}}
	for _, cause := range causes() {
		if n := counted(s.metrics.retries.WithLabelValues(cause)); n > 0 {
			stats.Retries[cause] = n
		}
	}
	return stats
}
