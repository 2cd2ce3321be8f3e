package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkabroker"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgserver"
	"firstclick/migrations"
	"firstclick/tools/testbed"
)

// firstEvent is the event time at which a workload begins. It is fixed, so that the same seed has
// the same answer, down to the digest.
func firstEvent() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// place is the two servers, the built program, and one workload with its answer.
type place struct {
	kafka    *kafkabroker.Broker
	admin    *kadm.Client
	postgres *pgserver.Server
	testbed.Database

	dir      string // of the files below
	program  string // firstclick
	topics   topics
	ends     kadm.ListedOffsets // of the topics
	expected Workload
	answers  string   // table of the right rows
	arrival  string   // file of the rows in binary COPY format, in order of arrival
	sorted   string   // the same in order of checkout_id
	halves   []string // the same in order of arrival, in two files
}

// topics are the two topics of a workload and the group that reads them.
type topics struct {
	clicks, checkouts, group string
	partitions               int32
}

func newTopics(prefix string, partitions int) topics {
	return topics{clicks: prefix + "-clicks", checkouts: prefix + "-checkouts", group: prefix,
		partitions: int32(partitions)}
}

func (t topics) flags() []string {
	return []string{"--clicks-topic", t.clicks, "--checkouts-topic", t.checkouts, "--group", t.group}
}

func start(ctx context.Context, opts options, log *testbed.Log) (p *place, err error) {
	log.Say("starting Kafka and Postgres in %s", opts.dir)
	p = &place{dir: opts.dir, program: opts.program, answers: "bench.expected",
		topics: topics{clicks: "clicks", checkouts: "checkouts", group: "bench", partitions: int32(opts.partitions)}}
	if p.program == "" {
		p.program = filepath.Join(opts.dir, "firstclick")
		if err := testbed.Build(ctx, p.program); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	// The heap is that of Kafka's own scripts, most of it for young objects. With Java's defaults
	// the collector would stop the broker twice a second.
	p.kafka, err = kafkabroker.Start(filepath.Join(opts.dir, "kafka"),
		kafkabroker.Options{Heap: "1g", Java: []string{"-Xms1g", "-Xmn640m"}})
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka.Addr))
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	p.admin = kadm.NewClient(client)
	// Stock settings, except for what replication needs and durable commits.
	p.postgres, err = pgserver.Start(filepath.Join(opts.dir, "postgres"), pgserver.WithSync(),
		pgserver.WithConfig(map[string]string{"shared_buffers": "128MB"}))
	if err != nil {
		return nil, err
	}
	p.Database = testbed.Database{DSN: p.postgres.DSN("postgres"), Application: "firstclick bench"}
	if err := p.Exec(ctx, "CREATE DATABASE bench"); err != nil {
		return nil, err
	}
	p.DSN = p.postgres.DSN("bench")
	return p, migrations.Up(ctx, p.DSN, nil)
}

func (p *place) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if p.postgres != nil {
		errs = append(errs, p.postgres.Stop(ctx))
	}
	if p.admin != nil {
		p.admin.Close()
	}
	if p.kafka != nil {
		errs = append(errs, p.kafka.Stop(ctx))
	}
	return errors.Join(errs...)
}

// produce sends the events of a configuration, from the first event on, and returns the workload
// without its answer.
func (p *place) produce(ctx context.Context, cfg datagen.Config) (load Workload, err error) {
	cfg.Kafka = kafkaconn.Config{Brokers: []string{p.kafka.Addr}}
	cfg.ClicksTopic, cfg.CheckoutsTopic, cfg.Start = p.topics.clicks, p.topics.checkouts, firstEvent()
	sum, err := datagen.Run(ctx, cfg)
	if err != nil {
		return load, fmt.Errorf("produce events: %w", err)
	}
	p.ends, err = testbed.Ends(ctx, p.admin, p.topics.clicks, p.topics.checkouts)
	return Workload{
		Compression: cfg.Compression, Seed: cfg.Seed, EventRate: cfg.EventRate, Partitions: int(cfg.Partitions),
		Clicks: sum.Clicks, Checkouts: sum.Checkouts, Records: sum.Records,
	}, err
}

func (p *place) createTopics(ctx context.Context, t topics) error {
	created, err := p.admin.CreateTopics(ctx, t.partitions, 1, nil, t.clicks, t.checkouts)
	if err := errors.Join(err, created.Error()); err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	return nil
}

// launch starts an instance for a workload, with a log of that name.
func (p *place) launch(name string, t topics) (*testbed.Instance, error) {
	args := append([]string{"--kafka", p.kafka.Addr, "--database", p.DSN, "--pprof"}, t.flags()...)
	return testbed.Start(p.program, filepath.Join(p.dir, name+".log"), nil, args...)
}

// settings are those of Postgres that decide how fast it can be.
func (p *place) settings(ctx context.Context) (map[string]string, error) {
	settings := map[string]string{}
	var name, value string
	err := p.Rows(ctx, `SELECT name, current_setting(name) FROM pg_settings WHERE name IN ('server_version', 'fsync',
			'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers', 'max_wal_size',
			'checkpoint_timeout', 'wal_compression')`,
		nil, []any{&name, &value}, func() error { settings[name] = value; return nil })
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return settings, nil
}

// empty makes conditions equal: no rows, no state, and nothing left for a checkpoint to write.
func (p *place) empty(ctx context.Context) error {
	return p.Exec(ctx, `TRUNCATE commerce.attributed_checkouts, firstclick.offsets, firstclick.progress,
		firstclick.dead_letters, firstclick.late, firstclick.unknown_users, firstclick.instances`, `CHECKPOINT`)
}
