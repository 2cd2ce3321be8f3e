package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgsession"
	"firstclick/pipeline"
	"firstclick/web"
)

const (
	stopWithin  = 20 * time.Second // for Postgres; then it is killed, and recovers at the next start
	memoryLimit = 512 << 20        // bytes, for the pipeline
)

// demo is a running demo.
type demo struct {
	cfg    Config
	logger *slog.Logger
	out    io.Writer // above the table, where there is one
	screen *screen   // nil where Out is no terminal

	begun    time.Time
	broker   *kfake.Cluster
	postgres *pgserver.Server
	web      *web.Server
	pool     *pgxpool.Pool
	faultAt  atomic.Int64 // when the page last broke something: Unix seconds
	crashing sync.Mutex   // of postgres, whose methods are for one goroutine at a time
}

// Run runs the demo until ctx ends, which is no error, or until a part fails. It returns when
// everything that it started has ended. The error is a *BusyError if another demo has the
// directory.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.setDefaults(); err != nil {
		return err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	d := &demo{cfg: cfg, out: cfg.Out, begun: time.Now()}
	if cfg.Width != nil {
		d.screen = &screen{out: cfg.Out, width: cfg.Width}
		d.out, d.logger = d.screen, cfg.NewLogger(d.screen)
	} else {
		d.logger = cfg.NewLogger(nil)
	}
	defer func() { err = errors.Join(err, d.stopServers(ctx)) }()
	if err := d.startServers(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while starting: Ctrl-C interrupts initdb too
		}
		return err
	}
	d.greet()
	return d.work(ctx)
}

// startServers starts what the pipeline needs, Kafka and Postgres at the same time. After an error
// stopServers stops what has started.
func (d *demo) startServers(ctx context.Context) error {
	fmt.Fprintf(d.out, "starting Kafka, Postgres, shoppers and the pipeline; the data is in %s\n", d.cfg.Dir)
	chosen, err := choosePorts(ctx, d.cfg.KafkaPort, d.cfg.DatabasePort)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.Go(func() (err error) {
		d.broker, err = startBroker(d.cfg.Dir, chosen[0], d.logger)
		return err
	})
	group.Go(func() (err error) {
		d.postgres, err = startPostgres(ctx, d.cfg.Dir, chosen[1], d.logger)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	page := web.Config{Listen: d.cfg.Listen, Gatherer: d.cfg.Registry, Hosts: d.cfg.Hosts, Logger: d.logger}
	d.web, err = web.New(page)
	if errors.Is(err, web.ErrPortTaken) { // then a free port of the same host
		page.Listen = d.cfg.Listen[:strings.LastIndexByte(d.cfg.Listen, ':')] + ":0"
		d.web, err = web.New(page)
	}
	if err != nil {
		return err
	}
	config, err := pgsession.PoolConfig(d.postgres.DSN(database), application, 2)
	if err != nil {
		return fmt.Errorf("read the database's address: %w", err)
	}
	if d.pool, err = pgsession.OpenPool(config); err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	return nil
}

// stopServers stops what startServers started, in the opposite order.
func (d *demo) stopServers(ctx context.Context) (err error) {
	if d.pool != nil {
		d.pool.Close()
	}
	if d.postgres != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		err = d.postgres.Stop(stopping)
	}
	if d.broker != nil {
		d.broker.Close() // saves its state
	}
	if d.postgres != nil && d.broker != nil && err == nil {
		fmt.Fprintln(d.out, "stopped; the next start goes on from here")
	}
	return err
}

func (d *demo) kafka() kafkaconn.Config { return kafkaconn.Config{Brokers: d.broker.ListenAddrs()} }

// work runs pipeline, generator and the other parts until ctx ends or one of them fails, and stops
// them one after the other.
func (d *demo) work(ctx context.Context) error {
	job, err := pipeline.New(pipeline.Config{
		Kafka: d.kafka(), Database: d.postgres.DSN(database), ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic,
		MemoryLimit: memoryLimit, Version: d.cfg.Version, Listen: d.web.Addr().String(),
		Logger: d.logger, Registry: d.cfg.Registry,
	})
	if err != nil {
		return errors.Join(err, d.web.Close())
	}
	d.web.Checks(job.Health)
	if err := d.mount(job); err != nil {
		return errors.Join(err, d.web.Close())
	}
	running, ended := context.WithCancel(ctx)
	defer ended()
	bounds := func(ctx context.Context) error { return bound(ctx, d.kafka(), d.pool, d.logger) }
	parts := []*part{ // in the order in which they stop
		launch(ctx, "the table", d.view, ended),
		launch(ctx, "the generator", d.generate, ended),
		launch(ctx, "the pipeline", job.Run, ended),
		launch(ctx, "the bounds", bounds, ended),
		launch(ctx, "the web server", d.web.Run, ended),
	}
	<-running.Done()
	failed := []error{parts[0].end()}
	fmt.Fprintln(d.out, "stopping: finishing what is under way")
	for _, p := range parts[1:] {
		failed = append(failed, p.end())
	}
	return errors.Join(failed...)
}

// generate sends events from now on until ctx ends. It begins again after a sleep of the machine:
// else the event time would stay behind, and the records would be deleted as old ones.
func (d *demo) generate(ctx context.Context) error {
	for {
		round, cancel := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() {
			last := time.Now()
			every(round, 10*time.Second, func() bool {
				if slept(elapsed(last, time.Now())) {
					cancel()
				}
				return true
			})
		})
		_, err := datagen.Run(round, datagen.Config{
			Kafka: d.kafka(), Database: d.postgres.DSN(database),
			ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic, Partitions: partitions,
			Rate: d.cfg.Rate, Seed: rand.Uint64N(1 << 48), OutOfOrder: 0.02, Duplicate: 0.002, Renames: 0.2,
			Logger: d.logger,
		})
		cancel()
		watch.Wait()
		faultLately := time.Since(time.Unix(d.faultAt.Load(), 0)) < time.Minute
		switch {
		case ctx.Err() != nil, err != nil && !faultLately:
			return err
		case err != nil:
			d.logger.WarnContext(ctx, "the generator begins anew", "cause", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// part is a part of the demo. It runs beside the others.
type part struct {
	stop context.CancelFunc
	done chan error
}

// launch runs a part until its end is called. The end of ctx does not stop it: parts stop in order.
// A part that ends by itself has failed; ended is called then too.
func launch(ctx context.Context, name string, run func(context.Context) error, ended func()) *part {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{stop: stop, done: make(chan error, 1)}
	go func() {
		defer ended()
		err := run(own)
		switch {
		case own.Err() == nil && err == nil:
			err = errors.New("ended by itself")
		case own.Err() != nil && errors.Is(err, context.Canceled):
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		p.done <- err
	}()
	return p
}

func (p *part) end() error {
	p.stop()
	return <-p.done
}
