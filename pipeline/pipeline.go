package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/cdc"
	"firstclick/internal/pgsession"
	"firstclick/pipeline/sink"
)

// Pipeline is the main job. Make one with New, run it once with Run.
type Pipeline struct {
	cfg Config
	log *slog.Logger

	sink   *sink.Sink
	mirror *cdc.Mirror
	filler *filler

	mu    sync.Mutex
	stats Stats
	start time.Time

	metrics     *runMetrics
	ingest      *ingestMetrics
	engine      *engineMetrics
	sinkMetrics *sink.Metrics
	reading     reading
	server      ServerProbe // under mu
	wasCaughtUp atomic.Bool

	current *session // under mu; nil: between two
	latest  latest
	refused refusals
	group   standing
	pool    *pgxpool.Pool // of the users mirror and the probes
}

// New checks the configuration. It connects to nothing.
func New(cfg Config) (*Pipeline, error) {
	if err := cfg.settle(); err != nil {
		return nil, err
	}
	f := newFactory(cfg.Registry, cfg.Group)
	p := &Pipeline{
		cfg: cfg, log: cfg.Logger, start: time.Now(), refused: refusals{limit: cfg.RefusedFor},
		metrics:     newRunMetrics(f),
		ingest:      newIngestMetrics(f, cfg.ClicksTopic, cfg.CheckoutsTopic),
		engine:      newEngineMetrics(f, cfg.ClicksTopic, cfg.CheckoutsTopic),
		sinkMetrics: sink.NewMetrics(f.forSink()),
	}
	registerState(f, p.Stats, p.Health)
	return p, nil
}

// Run works until ctx ends (then it finishes the transactions under way, leaves the group and returns nil), until all that was
// there at the start is in Postgres (UntilCaughtUp), or until something can't be mended. It returns a *ConfigError, a *GapError,
// ErrFencedAgain, or another error with a text for the operator.
func (p *Pipeline) Run(ctx context.Context) error {
	pool, err := p.namesPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	p.pool = pool
	p.filler = newFiller()
	mirror, err := cdc.New(cdc.Config{
		Database: p.cfg.Database, Replication: p.cfg.Replication, CacheSize: p.cfg.UsersCache, Application: usersApplication(p.cfg.Instance), Logger: p.log,
		OnChange: p.filler.changed, OnSnapshot: p.filler.all,
	}, pool)
	if err != nil {
		return err
	}
	rows, err := sink.New(sink.Config{Database: p.cfg.Database, Application: p.cfg.Instance, Payloads: p.cfg.Payloads, Logger: p.log, Metrics: p.sinkMetrics}, timedNames{mirror, &p.engine.naming})
	if err != nil {
		return err
	}
	defer rows.Close()
	p.mu.Lock()
	p.mirror, p.sink = mirror, rows // Stats looks at them
	p.mu.Unlock()

	// The helpers of the sessions outlive ctx: a shutdown in good order still needs names and transactions.
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, alive := errgroup.WithContext(alive)
	g.Go(func() error { return untilStopped(p.mirror.Run(alive)) })
	g.Go(func() error { return untilStopped(p.filler.run(alive, p.sink, p.log)) })
	g.Go(func() error { return p.probeServer(alive, pool) })
	g.Go(func() error {
		defer stop()
		if err := p.sessions(ctx, alive); err != nil || !p.cfg.UntilCaughtUp {
			return err
		}
		p.fillAtLast(ctx)
		return nil
	})
	return g.Wait()
}

// fillAtLast fills in the names of users who are there by now: a run until caught up may be over before the filler had its turn, and where
// all runs are such ones nobody else would.
func (p *Pipeline) fillAtLast(ctx context.Context) {
	if _, err := p.sink.FillUnknown(ctx, nil); err != nil && ctx.Err() == nil {
		notFilled(p.log, err)
	}
}

func notFilled(log *slog.Logger, err error) {
	log.Warn("names of users that appeared later are not filled in for now", "cause", err)
}

func untilStopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (p *Pipeline) namesPool() (*pgxpool.Pool, error) {
	cfg, err := pgsession.PoolConfig(p.cfg.Database, p.cfg.Instance+" names", 3)
	if err != nil {
		return nil, &ConfigError{err.Error()}
	}
	return pgsession.OpenPool(cfg)
}

// maxFences is how often in a row a session may be fenced before it has committed anything.
const maxFences = 5

// sessions runs one session after another: a session that was fenced, or found Postgres to have lost its tail, is followed by one that
// begins where Postgres is.
func (p *Pipeline) sessions(ctx, alive context.Context) error {
	for n := 0; ; n++ {
		before := p.sinkMetrics.Transactions()
		s := newSession(p)
		p.setCurrent(s)
		err := s.run(ctx, alive)
		p.setCurrent(nil)
		var again *againError
		switch {
		case err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)):
			return nil
		case p.refused.lasting() != nil:
			return p.refused.lasting()
		case passes(err), isRefusal(err):
			p.refused.note(asksClicks, err, time.Now())
			again = &againError{cause: err}
		case !errors.As(err, &again):
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if p.sinkMetrics.Transactions() > before {
			n = 0
		}
		if again.fenced {
			p.metrics.fenced.Inc()
			if n >= maxFences {
				return fmt.Errorf("%w (the last time: %w)", ErrFencedAgain, again.cause)
			}
		}
		p.log.Warn("begin again where Postgres is", "cause", again.cause)
		if err := pause(ctx, time.Duration(min(n, 10))*200*time.Millisecond); err != nil {
			return nil
		}
	}
}

func (p *Pipeline) setCurrent(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = s
}

// passes says whether an error of Kafka is one that passes: brokers that restart, leaders that move, connections that end before the first
// answer, time-outs. What the client takes for a hint that TLS is missing is no more than such a connection: whether the settings fit was found
// out when Kafka was first reached.
func passes(err error) bool {
	var first *kgo.ErrFirstReadEOF
	var network net.Error
	return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &first) || errors.As(err, &network)
}

// filler runs the statement that fills in names of users who appeared after their checkouts.
type filler struct {
	mu   sync.Mutex
	ids  map[int32]struct{}
	full bool
	wake chan struct{}
}

// maxFillIDs bounds the changed ids kept; past it everything that can be filled is.
const maxFillIDs = 10_000

func newFiller() *filler {
	return &filler{ids: map[int32]struct{}{}, wake: make(chan struct{}, 1)}
}

func (f *filler) changed(ids []int32) {
	f.mu.Lock()
	if !f.full {
		for _, id := range ids {
			f.ids[id] = struct{}{}
		}
		f.full = len(f.ids) > maxFillIDs
	}
	f.mu.Unlock()
	f.poke()
}

func (f *filler) all() {
	f.mu.Lock()
	f.full = true
	f.mu.Unlock()
	f.poke()
}

func (f *filler) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *filler) take() (ids []int32, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.ids {
		ids = append(ids, id)
	}
	full = f.full
	clear(f.ids)
	f.full = false
	return ids, full
}

func (f *filler) run(ctx context.Context, s *sink.Sink, log *slog.Logger) error {
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-minute.C:
			f.all()
		case <-f.wake:
			ids, full := f.take()
			if full {
				ids = nil
			} else if len(ids) == 0 {
				continue
			}
			_, err := s.FillUnknown(ctx, ids)
			if err != nil && ctx.Err() == nil && !failing {
				notFilled(log, err)
			}
			failing = err != nil
		}
	}
}
