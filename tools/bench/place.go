package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgsession"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
	"firstclick/tools/testbed"
)

const application = "firstclick bench" // application_name of its own sessions

const stopTime = time.Minute // for a server to stop in good order

// firstEvent is the event time at which the workload begins. It is fixed, so that the same seed has the same answer, down to the digest.
func firstEvent() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// place is where everything happens: the two servers, the built program, and the files to copy from.
type place struct {
	kafka    *kafkatest.Broker
	postgres *pgtest.Server
	database string           // DSN
	dir      string           // of the files below
	program  string           // firstclick
	topics   topics           // of the backlog
	answers  string           // table of the right rows
	arrival  string           // the finished rows in binary COPY format, in order of arrival
	sorted   string           // the same in order of checkout_id
	halves   []string         // the same in order of arrival, in two files
	ends     map[string][]end // by topic
	expected Workload
}

func start(ctx context.Context, opts options) (p *place, err error) {
	p = &place{dir: opts.dir, program: opts.program, topics: topics{clicks: "clicks", checkouts: "checkouts", group: "bench"}, answers: "bench.expected"}
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
	// The heap that Kafka's own scripts give it, most of it for young objects: left alone, the collector would stop the broker twice a second.
	p.kafka, err = kafkatest.StartReal(filepath.Join(opts.dir, "kafka"), kafkatest.WithHeap("1g"), kafkatest.WithJava("-Xms1g", "-Xmn640m"))
	if err != nil {
		return nil, err
	}
	// Stock settings but for what replication needs and durable commits.
	p.postgres, err = pgtest.Start(filepath.Join(opts.dir, "postgres"), pgtest.WithSync(true), pgtest.WithSharedBuffers("128MB"))
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, p.postgres.DSN("postgres"), "CREATE DATABASE bench"); err != nil {
		return nil, err
	}
	p.database = p.postgres.DSN("bench")
	if err := migrations.Up(ctx, p.database, nil); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *place) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var errs []error
	if p.postgres != nil {
		errs = append(errs, p.postgres.Stop(ctx))
	}
	if p.kafka != nil {
		errs = append(errs, p.kafka.Stop(ctx))
	}
	return errors.Join(errs...)
}

// produce lays down the events, all well-formed, and the users.
func (p *place) produce(ctx context.Context, opts options) (Workload, error) {
	load := Workload{Compression: opts.compression, Seed: opts.seed, EventRate: opts.eventRate, Partitions: opts.partitions}
	summary, err := p.generate(ctx, datagen.Config{
		Database: p.database, Partitions: int32(opts.partitions), Count: opts.events, Seed: opts.seed, EventRate: opts.eventRate,
		Compression: opts.compression,
	})
	if err != nil {
		return load, err
	}
	load.Clicks, load.Checkouts, load.Records = summary.Clicks, summary.Checkouts, summary.Records
	if p.ends, err = p.endsOf(ctx, p.topics.clicks, p.topics.checkouts); err != nil {
		return load, err
	}
	return load, nil
}

// generate lays down what cfg says, in this place and from the first event on.
func (p *place) generate(ctx context.Context, cfg datagen.Config) (datagen.Summary, error) {
	cfg.Kafka = kafkaconn.Config{Brokers: []string{p.kafka.Addr}}
	cfg.ClicksTopic, cfg.CheckoutsTopic, cfg.Start = p.topics.clicks, p.topics.checkouts, firstEvent()
	summary, err := datagen.Run(ctx, cfg)
	if err != nil {
		return summary, fmt.Errorf("produce events: %w", err)
	}
	return summary, nil
}

// settings are those of Postgres that decide how fast it can be.
func (p *place) settings(ctx context.Context) (map[string]string, error) {
	conn, err := connect(ctx, p.database)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT name, current_setting(name) FROM pg_settings WHERE name IN ('server_version', 'fsync',
		'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'wal_compression')`)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	settings := map[string]string{}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		settings[name] = value
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return settings, nil
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	conn, err := pgsession.Connect(ctx, dsn, application)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	return conn, nil
}

// execute runs statements, one after the other, each in a transaction of its own.
func execute(ctx context.Context, dsn string, statements ...string) error {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("run %q: %w", strings.Join(strings.Fields(statement), " "), err)
		}
	}
	return nil
}

// empty makes conditions equal: no rows, no state, and nothing left for a checkpoint to write in the next phase.
func (p *place) empty(ctx context.Context) error {
	return execute(ctx, p.database,
		`TRUNCATE commerce.attributed_checkouts, firstclick.offsets, firstclick.progress, firstclick.dead_letters, firstclick.late,
			firstclick.unknown_users, firstclick.instances`,
		`CHECKPOINT`)
}

// tail is the end of a file for an error message.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data[max(0, len(data)-3000):])
}
