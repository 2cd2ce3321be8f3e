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
	"firstclick/internal/pgsession"
	"firstclick/internal/pgtest"
	"firstclick/pipeline"
	"firstclick/web"
)

const (
	// stopWithin is how long Postgres may take to end; then it is ended at once, and recovers at the next start.
	stopWithin = 20 * time.Second
	// memoryLimit is what the pipeline may take; the last hour and a quarter of clicks need a fraction.
	memoryLimit = 512 << 20
)

// demo is what runs.
type demo struct {
	cfg    Config
	logger *slog.Logger
	out    io.Writer // above the table, where there is one
	screen *screen   // nil where Out is no terminal

	begun    time.Time
	broker   *kfake.Cluster
	postgres *pgtest.Server
	web      *web.Server
	pool     *pgxpool.Pool
	broken   atomic.Int64 // when something was last broken on purpose: Unix seconds
	crashing sync.Mutex   // of Postgres, whose methods are for one goroutine at a time
}

// Run runs the demo until ctx ends, which is no error, or until something cannot go on. It returns when everything it started has
// ended. The error is a *BusyError where another demo has the directory.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.settle(); err != nil {
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
		d.out = d.screen
		d.logger = cfg.NewLogger(d.screen)
	} else {
		d.logger = cfg.NewLogger(nil)
	}
	defer func() { err = errors.Join(err, d.stopServers(ctx)) }()
	if err := d.startServers(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting: a Ctrl-C interrupts initdb too, whatever that then says
		}
		return err
	}
	d.greet()
	return d.work(ctx)
}

// beingStopped turns errors that come from being told to stop into none.
func beingStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// startServers starts what the pipeline needs, the slow parts at the same time. What has started when another fails is stopped by
// stopServers.
func (d *demo) startServers(ctx context.Context) error {
	fmt.Fprintf(d.out, "starting Kafka, Postgres, shoppers and the pipeline; data in %s\n", d.cfg.Dir)
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
	if d.web, err = d.listen(); err != nil {
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

// listen takes the wanted address, or a free port of the same host where it is taken.
func (d *demo) listen() (*web.Server, error) {
	config := web.Config{Listen: d.cfg.Listen, Gatherer: d.cfg.Registry, Hosts: d.cfg.Hosts, Logger: d.logger}
	server, err := web.New(config)
	if !errors.Is(err, web.ErrPortTaken) {
		return server, err
	}
	config.Listen = d.cfg.Listen[:strings.LastIndexByte(d.cfg.Listen, ':')] + ":0"
	return web.New(config)
}

// stopServers ends what startServers started, in the opposite order.
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
		d.broker.Close() // writes its state down
	}
	if d.postgres != nil && d.broker != nil && err == nil {
		fmt.Fprintln(d.out, "stopped; start the demo again and it goes on from here")
	}
	return err
}

func (d *demo) kafka() kafkaconn.Config { return kafkaconn.Config{Brokers: d.broker.ListenAddrs()} }

// work runs pipeline, generator and the rest until ctx ends or one of them fails, and stops them one after the other.
func (d *demo) work(ctx context.Context) error {
	job, err := pipeline.New(pipeline.Config{
		Kafka: d.kafka(), Database: d.postgres.DSN(database), ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic,
		MemoryLimit: memoryLimit, Version: d.cfg.Version, Listen: d.web.Addr().String(), Logger: d.logger,
		Registry: d.cfg.Registry,
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
	view := func(ctx context.Context) error {
		if err := firstRow(ctx, d.pool, d.begun, d.out); err != nil || ctx.Err() != nil {
			return err
		}
		if d.screen != nil {
			return d.screen.show(ctx, d.pool, d.begun)
		}
		return report(ctx, d.pool, d.begun, d.out)
	}
	parts := []*part{ // in the order in which they stop
		launch(ctx, "the table", view, ended),
		launch(ctx, "the generator", d.generate, ended),
		launch(ctx, "the pipeline", job.Run, ended),
		launch(ctx, "the bounds", func(ctx context.Context) error { return bound(ctx, d.kafka(), d.pool, d.logger) }, ended),
		launch(ctx, "the web server", d.web.Run, ended),
	}
	<-running.Done()
	failed := []error{parts[0].end()}
	fmt.Fprintln(d.out, "stopping: what is under way is finished")
	for _, p := range parts[1:] {
		failed = append(failed, p.end())
	}
	return errors.Join(failed...)
}

// generate sends events from now on until ctx ends. A machine that slept lets it begin anew: otherwise its clock would stay behind
// by that time, and its records would be old enough to be dropped when they are sent.
func (d *demo) generate(ctx context.Context) error {
	for {
		round, cancel := context.WithCancel(ctx)
		awake := make(chan struct{})
		go func() {
			defer close(awake)
			cancelWhenSlept(round, cancel)
		}()
		_, err := datagen.Run(round, datagen.Config{
			Kafka: d.kafka(), Database: d.postgres.DSN(database), ClicksTopic: clicksTopic, CheckoutsTopic: checkoutsTopic, Partitions: partitions,
			Rate: d.cfg.Rate, Seed: rand.Uint64N(1 << 48),
			OutOfOrder: 0.02, Duplicate: 0.002, Renames: 0.2, // life, in small
			Logger: d.logger,
		})
		cancel()
		<-awake
		switch {
		case ctx.Err() != nil:
			return beingStopped(ctx, err)
		case err != nil && !d.brokenLately():
			return err
		case err != nil: // shoppers come again when the shop is open again
			d.logger.WarnContext(ctx, "the generator begins anew", "cause", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// brokenLately says whether something was broken on purpose so lately that errors may come of it.
func (d *demo) brokenLately() bool { return time.Since(time.Unix(d.broken.Load(), 0)) < time.Minute }

func cancelWhenSlept(ctx context.Context, cancel func()) {
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := time.Now(); slept(elapsed(last, now)) {
			cancel()
			return
		}
	}
}

// part is a part of the demo that runs beside the others.
type part struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error // once done is closed
}

// launch runs a part until its end is called; the end of ctx alone does not stop it, so that parts stop in order. One that ends by
// itself calls ended.
func launch(ctx context.Context, name string, run func(context.Context) error, ended func()) *part {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer ended()
		err := run(own)
		if own.Err() != nil {
			err = beingStopped(own, err)
		} else if err == nil {
			err = errors.New("ended by itself")
		}
		if err != nil {
			p.err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	return p
}

func (p *part) end() error {
	p.stop()
	<-p.done
	return p.err
}
