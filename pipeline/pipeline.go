package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"firstclick/cdc"
	"firstclick/internal/metrics"
	"firstclick/internal/pgsession"
	"firstclick/pipeline/ending"
	"firstclick/pipeline/engine"
	"firstclick/pipeline/ingest"
	"firstclick/pipeline/sink"
)

// Pipeline is the main job. Make one with New, run it once with Run.
type Pipeline struct {
	cfg     Config
	log     *slog.Logger
	started time.Time

	metrics *runMetrics
	engine  *engine.Metrics
	ingest  *ingest.Run

	sinkMetrics *sink.Metrics

	pool        *pgxpool.Pool // of the users mirror and the probes
	sink        *sink.Sink
	mirror      *cdc.Mirror
	filler      *filler
	latest      engine.Latest
	wasCaughtUp atomic.Bool

	status atomic.Pointer[engine.Status] // of the attempt, or of the last one; not nil
	inbox  atomic.Pointer[engine.Inbox]  // of the attempt; nil: between two
	server atomic.Pointer[ServerProbe]   // not nil
	open   atomic.Bool                   // sink and mirror are there
}

// New checks the configuration. It connects to nothing.
func New(cfg Config) (*Pipeline, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	f := metrics.NewFactory(cfg.Registry, cfg.Group)
	p := &Pipeline{
		cfg: cfg, log: cfg.Logger, started: time.Now(),
		filler:  newFiller(),
		metrics: newRunMetrics(f), sinkMetrics: sink.NewMetrics(f.Wrapped()),
		engine: engine.NewMetrics(f, cfg.ClicksTopic, cfg.CheckoutsTopic),
	}
	p.ingest = ingest.NewRun(database{p}, cfg.Instance, cfg.RefusedFor,
		ingest.NewMetrics(f, cfg.ClicksTopic, cfg.CheckoutsTopic))
	p.status.Store(&engine.Status{})
	p.server.Store(&ServerProbe{})
	registerState(f, p.Stats, p.Health)
	return p, nil
}

// Run works until ctx ends; then it finishes the transactions in flight, leaves the group and
// returns nil. It also ends when all that was there at the start is in Postgres (UntilCaughtUp), or
// when something cannot be mended: with a *ConfigError, a *GapError, ErrFencedAgain, or another
// error with a text for the operator.
func (p *Pipeline) Run(ctx context.Context) error {
	var err error
	if p.pool, err = p.namesPool(); err != nil {
		return err
	}
	defer p.pool.Close()
	p.mirror, err = cdc.New(cdc.Config{
		Database: p.cfg.Database, Replication: p.cfg.Replication, CacheSize: p.cfg.UsersCache,
		Application: usersApplication(p.cfg.Instance), Logger: p.log,
		OnChange: p.filler.changed, OnSnapshot: p.filler.all,
	}, p.pool)
	if err != nil {
		return err
	}
	p.sink, err = sink.New(sink.Config{Database: p.cfg.Database, Application: p.cfg.Instance, Payloads: p.cfg.Payloads,
		Metrics: p.sinkMetrics, Logger: p.log},
		timedNames{p.mirror, &p.engine.Naming})
	if err != nil {
		return err
	}
	defer p.sink.Close()
	p.open.Store(true)

	// What serves the attempts outlives ctx: a stop in good order still needs names and
	// transactions.
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, alive := errgroup.WithContext(alive)
	g.Go(func() error {
		err := p.mirror.Run(alive)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	g.Go(func() error { return p.filler.run(alive, p.sink, p.log) })
	g.Go(func() error { return p.probeServer(alive) })
	g.Go(func() error {
		defer stop()
		if err := p.attempts(ctx, alive); err != nil || !p.cfg.UntilCaughtUp {
			return err
		}
		// The run may be over before the filler's turn, and where all runs are short nobody else
		// fills in.
		if _, err := p.sink.FillUnknown(ctx, nil); err != nil && ctx.Err() == nil {
			logUnfilled(p.log, err)
		}
		return nil
	})
	return g.Wait()
}

func (p *Pipeline) namesPool() (*pgxpool.Pool, error) {
	cfg, err := pgsession.PoolConfig(p.cfg.Database, p.cfg.Instance+" names", 3)
	if err != nil {
		return nil, ending.Configf("%v", err)
	}
	return pgsession.OpenPool(cfg)
}

// maxFences is how often in a row an attempt may be fenced before it has committed anything.
const maxFences = 5

// attempts makes one attempt after another. One that was fenced, found Postgres rewound or lost
// Kafka is followed by one that begins from the positions in Postgres.
func (p *Pipeline) attempts(ctx, alive context.Context) error {
	refusals := p.ingest.Refusals
	for n := 0; ; n++ {
		before := p.sinkMetrics.Transactions()
		err := p.attempt(ctx, alive)
		var restart *ending.RestartError
		switch {
		case err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)):
			return nil
		case refusals.Err() != nil:
			return refusals.Err()
		case ingest.Transient(err), ingest.IsRefusal(err):
			refusals.NoteAttempt(err)
			restart = &ending.RestartError{Cause: err}
		case !errors.As(err, &restart):
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if p.sinkMetrics.Transactions() > before {
			n = 0
		}
		if restart.Fenced {
			p.metrics.fenced.Inc()
			if n >= maxFences {
				return fmt.Errorf("%w (the last time: %w)", ErrFencedAgain, restart.Cause)
			}
		}
		p.log.Warn("begin again where Postgres is", "cause", restart.Cause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(min(n, 10)) * 200 * time.Millisecond):
		}
	}
}

// Freeze makes the engine stand still for d, or until ctx ends: see engine.Inbox.Freeze. It is for
// demonstrations and tests: rows are late, and all come.
func (p *Pipeline) Freeze(ctx context.Context, d time.Duration) error {
	in := p.inbox.Load()
	if in == nil {
		return errors.New("freeze the pipeline: it does not run")
	}
	return in.Freeze(ctx, d)
}
