package cdc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultCacheSize is the number of users cached when Config.CacheSize is 0.
const DefaultCacheSize = 100_000

// Config describes a Mirror.
type Config struct {
	// Database is the DSN or URL of the primary server. Settings of sessions and pools in it are ignored.
	Database string
	// Replication is that of the role that replicates, in the same database; empty means Database. Nothing else is done as that role.
	Replication string
	// CacheSize is the most users held in memory, from 1; 0 means DefaultCacheSize.
	CacheSize int
	// Application is the application_name of the mirror's own two sessions; empty means firstclick.
	Application string
	// Logger receives what the operator should know; nil means slog.Default(). No user's data is logged.
	Logger *slog.Logger
	// OnChange receives the ids of users that a streamed transaction inserted, updated or gave a new id, after its commit was
	// applied. A transaction of more than maxAnnounced ids is announced in parts of that many, the first before its last row
	// was applied (Postgres has committed it by then). The slice is the callee's. It is called from the goroutine that owns the
	// replication connection and must not block.
	OnChange func(ids []int32)
	// OnSnapshot is called when a new slot streams and its snapshot's users have been loaded. Changes made while there was no
	// stream are not announced by OnChange; this call stands for them.
	OnSnapshot func()
}

// Mirror answers user names. Names and Stats may be called from any goroutine, also while Run is not running.
type Mirror struct {
	cfg    Config
	logger *slog.Logger
	pool   *pgxpool.Pool
	tuning tuning
	hooks  hooks
	dial   dialFunc // nil: the usual way

	mu    sync.Mutex
	cache *cache // nil while no stream stands
	stats Stats
	// unread is why users cannot be read, told of once; empty: they can.
	unread string
}

// tuning holds the durations of the connection's care.
type tuning struct {
	status     time.Duration // between standby status updates; each asks for an answer
	silent     int           // status intervals without any message after which the connection counts as lost
	watch      time.Duration // between looks at the publication
	backoff    time.Duration // first pause after a lost connection
	backoffMax time.Duration
	ringSize   int
	slotWait   time.Duration // for one transaction to end, while a slot is created
}

func defaultTuning() tuning {
	return tuning{
		status:     10 * time.Second,
		silent:     3,
		watch:      15 * time.Second,
		backoff:    100 * time.Millisecond,
		backoffMax: 15 * time.Second,
		ringSize:   1 << 16,
		slotWait:   time.Minute,
	}
}

// Stats is a snapshot of the mirror's counters, all since New.
type Stats struct {
	Entries             int    // users in the cache
	Capacity            int    // most users in the cache
	Hits                uint64 // ids answered from the cache
	Misses              uint64 // ids asked of Postgres
	ReadThroughQueries  uint64
	ReadThroughRows     uint64 // users found by them
	Evictions           uint64
	RefusedFills        uint64    // names read and used, but not cached, because they may be older than the stream
	Connected           bool      // a stream stands
	Snapshots           uint64    // slots whose snapshot was taken over
	Reconnects          uint64    // streams lost, or never had, and tried again
	AppliedTransactions uint64    // commits read from the stream
	AppliedChanges      uint64    // row changes and truncates of commerce.users read from the stream
	LastLSN             uint64    // all transactions committed before it are applied; what is confirmed to the server
	ServerLSN           uint64    // the newest position of the server that we know; minus LastLSN: the lag in bytes
	LastMessageTime     time.Time // of the newest replication message, within the status interval
	LastError           string    // why the last stream ended or could not begin; empty: never happened
}

// New makes a mirror that reads through pool. It starts nothing. The pool's sessions must see the same primary as
// cfg.Database, or else names that a lagging standby gives would be refused by the cache, as they should.
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

func (m *Mirror) noteLost(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Reconnects++
	m.stats.LastError = err.Error()
}

// Run keeps the mirror: publication, slot, snapshot, preload, stream; and all again, with a new slot and a new snapshot,
// whenever the connection is lost or a message cannot be decoded. It pauses between attempts, up to 15 s. It returns nil when
// ctx is done, after its connections are closed, and nothing else ends it: without a stream Names still answers.
func (m *Mirror) Run(ctx context.Context) error {
	var o outage
	for attempt := 0; ; attempt++ {
		began := time.Now()
		stood, err := m.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.noteLost(err)
		// A stream that stood for a while was sound: the next one is tried soon. One that falls at once is not hammered.
		if stood && time.Since(began) > m.tuning.backoffMax {
			attempt = 0
		}
		o.report(m.logger, stood, err)
		if !sleep(ctx, m.tuning.pause(attempt)) {
			return nil
		}
	}
}
