package cdc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/pgsession"
)

// DefaultCacheSize is the number of users cached when Config.CacheSize is 0.
const DefaultCacheSize = 100_000

// Config describes a Mirror.
type Config struct {
	// Database is the DSN or URL of the primary server. Its settings of sessions and pools are
	// ignored.
	Database string
	// Replication is the DSN of the role that replicates, in the same database; empty: Database.
	// Nothing else is done as that role.
	Replication string
	// CacheSize is the most users held in memory, from 1; 0: DefaultCacheSize.
	CacheSize int
	// Application is the application_name of the mirror's own two sessions; empty: firstclick.
	Application string
	// Logger receives what the operator should know; nil: slog.Default(). No user's data is logged.
	Logger *slog.Logger
	// OnChange receives the ids of users that a streamed transaction inserted, updated or gave a
	// new id, after the transaction was applied. More than maxAnnounced ids come in parts, while
	// the transaction is being applied; Postgres has committed it by then. The callee owns the
	// slice. OnChange runs on the goroutine of the replication connection and must not block.
	OnChange func(ids []int32)
	// OnSnapshot is called when a new slot streams and its snapshot's users are loaded. Any user
	// may have changed by then: OnChange does not announce what changed without a stream.
	OnSnapshot func()
}

// Mirror answers user names. Names and Stats may be called from any goroutine, also while Run is
// not running.
type Mirror struct {
	cfg    Config
	logger *slog.Logger
	pool   *pgxpool.Pool
	tuning tuning
	hooks  hooks
	dial   dialFunc // nil: as pgsession does

	mu     sync.Mutex
	cache  *cache // nil while no stream is up
	stats  Stats
	unread string // why users cannot be read, as logged; empty: they can
}

// hooks let a test stop the mirror where an unlucky schedule would.
type hooks struct {
	answered   func()           // a read-through has its rows and has not offered them to the cache
	streamed   func(raw []byte) // a replication message came and is not decoded yet
	preloading func()           // the stream is up and no user has been preloaded
}

type tuning struct {
	status     time.Duration // between standby status updates; each requests a reply
	silent     int           // status intervals without a message after which the connection is lost
	watch      time.Duration // between checks of the table and its publication
	backoff    time.Duration // first pause after a lost connection
	backoffMax time.Duration
	ringSize   int           // changed ids that are remembered
	slotWait   time.Duration // for one transaction to end, while a slot is created
}

func defaultTuning() tuning {
	return tuning{
		status: 10 * time.Second, silent: 3, watch: 15 * time.Second, backoff: 100 * time.Millisecond,
		backoffMax: 15 * time.Second, ringSize: 1 << 16, slotWait: time.Minute,
	}
}

// Stats holds the mirror's counters, all since New.
type Stats struct {
	Entries             int    // users in the cache
	Capacity            int    // most users in the cache
	Hits                uint64 // ids answered from the cache
	Misses              uint64 // ids read from Postgres
	ReadThroughQueries  uint64
	ReadThroughRows     uint64 // users found by them
	Evictions           uint64
	RefusedFills        uint64    // names read and used, but not cached: they may be older than the stream
	Connected           bool      // a stream is up
	Snapshots           uint64    // slots whose snapshot was imported
	Reconnects          uint64    // streams lost, or never had, and tried again
	AppliedTransactions uint64    // commits read from the stream
	AppliedChanges      uint64    // row changes and truncates of commerce.users read from the stream
	LastLSN             uint64    // all transactions committed before it are applied and confirmed
	ServerLSN           uint64    // the newest known position of the server; minus LastLSN: the lag in bytes
	LastMessageTime     time.Time // of the newest replication message, within the status interval
	LastError           string    // why the last stream ended or could not begin; empty: never happened
}

// New makes a mirror that reads through pool. It starts nothing. The pool's sessions must see the
// same primary as cfg.Database: the cache refuses names from a lagging standby.
func New(cfg Config, pool *pgxpool.Pool) (*Mirror, error) {
	if pool == nil {
		return nil, errors.New("users mirror: no connection pool")
	}
	if cfg.CacheSize < 0 {
		return nil, fmt.Errorf("users mirror: cache size %d is negative", cfg.CacheSize)
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = DefaultCacheSize
	}
	if cfg.Application == "" {
		cfg.Application = "firstclick"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Replication == "" {
		cfg.Replication = cfg.Database
	}
	for _, dsn := range []string{cfg.Database, cfg.Replication} {
		if _, err := pgsession.Config(dsn, cfg.Application); err != nil {
			return nil, fmt.Errorf("users mirror: %w", err)
		}
	}
	m := &Mirror{cfg: cfg, logger: cfg.Logger, pool: pool, tuning: defaultTuning()}
	m.stats.Capacity = cfg.CacheSize
	return m, nil
}

// Stats returns the counters as they are now.
func (m *Mirror) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	if m.cache != nil {
		s.add(m.cache)
		s.Entries = m.cache.len()
		s.Connected = true
	}
	return s
}

// add adds the counters that a cache keeps itself.
func (s *Stats) add(c *cache) {
	s.Evictions += c.evictions
	s.RefusedFills += c.refused
	s.AppliedTransactions += c.transactions
	s.AppliedChanges += c.rows
}

// Run keeps a stream: publication, slot, snapshot, preload. It begins again, with a new slot and a
// new snapshot, when the connection is lost or a message cannot be decoded, after a pause of up to
// 15 s. Only the end of ctx ends it. Then it closes its connections and returns nil. Without a
// stream Names still answers.
func (m *Mirror) Run(ctx context.Context) error {
	logged := ""
	for attempt := 0; ; attempt++ {
		began := time.Now()
		up, err := m.replicate(ctx)
		if ctx.Err() != nil {
			return nil
		}
		text := err.Error()
		m.mu.Lock()
		m.stats.Reconnects++
		m.stats.LastError = text
		m.mu.Unlock()
		if !up && text == logged { // a warning once, however often it happens
			m.logger.Debug("users mirror still has no stream", "error", err)
		} else {
			logged = text
			m.logger.Warn("users mirror has no stream: names are read from the table until it has one again",
				"error", err)
		}
		// A stream that was up for a while was sound: the next one is tried soon.
		if up && time.Since(began) > m.tuning.backoffMax {
			attempt = 0
		}
		if !sleep(ctx, m.tuning.pause(attempt)) {
			return nil
		}
	}
}

// pause doubles with each attempt up to the most. Half of it is random, so that instances do not
// all come back at once when their server does.
func (t tuning) pause(attempt int) time.Duration {
	d := t.backoffMax
	if attempt < 16 {
		d = min(d, t.backoff<<attempt)
	}
	return d/2 + mathrand.N(d/2+1)
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
