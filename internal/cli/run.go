package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/cdc"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/metrics"
	"firstclick/internal/pgsession"
	"firstclick/migrations"
	"firstclick/pipeline"
	"firstclick/web"
)

// running is what run's flags say.
type running struct {
	kafka         kafkaconn.Config
	database      string
	replication   string
	topics        topics
	meaning       meaning
	start         string
	usersCache    int
	payloads      int64
	retention     time.Duration
	memoryLimit   int64
	listen        string
	untilCaughtUp bool
	noMigrate     bool
	instance      string
	groupInstance string
	profiles      bool
	dryRun        bool
	looking       looking
	settings      []web.Setting // as they may be shown
}

func (r *running) flags(fs *pflag.FlagSet) {
	kafkaFlags(fs, &r.kafka)
	databaseFlag(fs, &r.database)
	replicationFlag(fs, &r.replication)
	r.topics.flags(fs)
	r.meaning.flags(fs)
	offering(define(fs, &r.start, "start", "START", "when", "earliest", parseStart,
		"where a group without offsets begins: earliest, latest, or a time (RFC 3339)"), "earliest", "latest")
	define(fs, &r.groupInstance, "group-instance", "KAFKA_GROUP_INSTANCE", "name", "", parseText,
		"static member of the group, a name per instance: a restart within the session timeout gets the same partitions back at once")
	define(fs, &r.usersCache, "users-cache", "USERS_CACHE", "n", "100000", parseWhole(1, math.MaxInt32), "users held in memory at most")
	define(fs, &r.payloads, "dead-letter-payloads", "DEAD_LETTER_PAYLOADS", "bytes", "64MiB", parseBytes,
		"bytes of bad records kept with their dead letters, by reason and hour; of what is more, place, size and hash are kept")
	define(fs, &r.retention, "dead-letters-retention", "DEAD_LETTERS_RETENTION", "duration", "never", parseRetention,
		"delete dead letters that are older, open ones too: longer than the topics' retention, or verify misses them")
	define(fs, &r.memoryLimit, "memory-limit", "MEMORY_LIMIT", "bytes", "half", parseMemory,
		"memory to use at most: 512MiB, 2GB, bytes, or half of the machine or cgroup")
	define(fs, &r.listen, "listen", "LISTEN", "host:port", ":8081", parseListen, "where the page, /livez and /metrics are served; port 0 picks one")
	r.looking.flags(fs)
	defineSwitch(fs, &r.untilCaughtUp, "until-caught-up", "", "end with exit code 0 once all that was there at the start is in Postgres")
	defineSwitch(fs, &r.noMigrate, "no-migrate", "NO_MIGRATE", "leave the tables as they are: migrate runs elsewhere")
	defineSwitch(fs, &r.profiles, "pprof", "PPROF", "serve /debug/pprof too, to whoever may see the page")
	defineSwitch(fs, &r.dryRun, "dry-run", "", "print every setting with where it comes from, connect to nothing, and end")
	define(fs, &r.instance, "instance", "", "name", "", parseText, "application_name of our Postgres sessions; default: a random one")
	if err := fs.MarkHidden("instance"); err != nil {
		panic(err) // the flag stands one line above
	}
}

func (c *command) run() *cobra.Command {
	var r running
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Read Kafka, join, write Postgres: the main job",
		Long: `Reads clicks and checkouts, finds the first click of every checkout and writes it to
commerce.attributed_checkouts, exactly once, until it is stopped. SIGTERM or Ctrl-C: finishes the
transaction, leaves the group, exit code 0; a second one: at once.

Exit codes: 0 done, 1 failed, 2 usage, 3 fenced again and again, 4 data gap.`,
		Example: `  firstclick run
  firstclick run --kafka broker:9092 --database postgres://app@db:5432/shop --start latest
  firstclick run --until-caught-up --listen 127.0.0.1:0
  firstclick run --config firstclick.yaml --dry-run
  KAFKA_SASL=scram-sha-512 KAFKA_USER=app KAFKA_PASSWORD_FILE=/run/secrets/kafka firstclick run --kafka-tls`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(r.topics.check(cmd), checkKafka(cmd, r.kafka), checkReplication(cmd, r.replication), r.looking.checkActions(cmd, r.listen), r.looking.readAuth(cmd)); err != nil {
				return err
			}
			dsn, err := connection(cmd, r.database, c.Env)
			if err != nil {
				return err
			}
			r.database, r.settings = dsn, shownSettings(cmd.Flags())
			if r.dryRun {
				return c.dryRun(cmd, r)
			}
			return c.runPipeline(cmd.Context(), r)
		},
	}
	r.flags(cmd.Flags())
	return cmd
}

func (c *command) runPipeline(ctx context.Context, r running) (err error) {
	logger := c.logger()
	limit := memoryLimit(r.memoryLimit, machine())
	debug.SetMemoryLimit(limit)
	if os.Getenv("GOGC") == "" {
		tuning := begin(ctx, tuneCollector)
		defer func() { err = errors.Join(err, tuning.end()) }()
	}

	registry := newRegistry()
	server, err := web.New(web.Config{Listen: r.listen, Gatherer: registry, Hosts: r.looking.hosts, Logger: logger})
	if err != nil {
		return fmt.Errorf("%w: choose another with --listen, or port 0", err)
	}
	job, err := c.mount(r, server, registry, logger, limit)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	logger.InfoContext(ctx, "serving the page, /livez, /readyz and /metrics", "address", server.Addr().String())
	serving := begin(ctx, server.Run)
	err = c.runJob(ctx, r, job, logger, limit)
	return errors.Join(err, serving.end())
}

// pipelineConfig is what the flags say, for the pipeline.
func (r *running) pipelineConfig(limit int64, listen string, logger *slog.Logger) pipeline.Config {
	return pipeline.Config{
		Kafka: r.kafka, Database: r.database, Replication: r.replication,
		ClicksTopic: r.topics.clicks, CheckoutsTopic: r.topics.checkouts,
		Group: r.meaning.group, Start: r.start,
		Window: r.meaning.window, Lateness: r.meaning.lateness, OutOfOrder: r.meaning.outOfOrder, MaxSkew: r.meaning.skew, Zone: r.meaning.zone,
		UsersCache: r.usersCache, MemoryLimit: limit, Payloads: r.payloads, Retention: r.retention,
		UntilCaughtUp: r.untilCaughtUp, Instance: r.instance, Static: r.groupInstance, Version: thisBuild().version, Listen: listen,
		Logger: logger,
	}
}

// mount makes the job, and puts its page on the server.
func (c *command) mount(r running, server *web.Server, registry *prometheus.Registry, logger *slog.Logger, limit int64) (*pipeline.Pipeline, error) {
	config := r.pipelineConfig(limit, server.Addr().String(), logger)
	config.Progress, config.KafkaHooks = c.Err, metrics.Kafka(registry)
	job, err := pipeline.New(config)
	if err != nil {
		return nil, err
	}
	registry.MustRegister(metrics.New(job))
	server.Checks(job.Health)
	if r.profiles {
		server.Profiles()
	}
	page, err := c.page(r, job, logger)
	if err != nil {
		return nil, err
	}
	server.Mount(page)
	if r.looking.auth != nil {
		for _, doubt := range r.looking.auth.Doubts {
			logger.Warn("who may look should be kept better", "cause", doubt)
		}
		server.Guard(r.looking.auth)
	}
	return job, nil
}

// runJob is run without the port: what has to stand first, and then the pipeline.
func (c *command) runJob(ctx context.Context, r running, job *pipeline.Pipeline, logger *slog.Logger, limit int64) error {
	if err := c.prepare(ctx, r, logger); err != nil {
		// Told to stop while waiting for the others: nothing was begun, so all is in order.
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	logger.InfoContext(ctx, "connected", "kafka", strings.Join(r.kafka.Brokers, ","), "database", shownDatabase(r.database),
		"clicks_topic", r.topics.clicks, "checkouts_topic", r.topics.checkouts, "group", r.meaning.group, "memory_limit", limit)
	return job.Run(ctx)
}

// prepare waits for Kafka and Postgres, brings the tables up to date and looks whether Postgres lets us mirror the users.
func (c *command) prepare(ctx context.Context, r running, logger *slog.Logger) error {
	if err := reach(ctx, logger, r.kafka, r.database); err != nil {
		return err
	}
	if r.replication != "" {
		if err := reachDatabase(ctx, logger, r.replication); err != nil {
			return err
		}
	}
	if !r.noMigrate {
		if err := migrations.Up(ctx, r.database, logger); err != nil {
			return err
		}
	}
	conn, err := pgsession.Connect(ctx, r.database, application)
	if err != nil { // it was there a moment ago: wait for it once more
		if err := reach(ctx, logger, r.kafka, r.database); err != nil {
			return err
		}
		if conn, err = pgsession.Connect(ctx, r.database, application); err != nil {
			return fmt.Errorf("connect to Postgres: %w", err)
		}
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // nothing was written
	}()
	return cdc.CheckStart(ctx, conn, cdc.Role(r.replication))
}

// newRegistry has what every Go process shows, and which firstclick it is.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), thisBuild().metric())
	return registry
}

// companion runs beside the main work, and ends with it or before it.
type companion struct {
	stop context.CancelFunc
	done chan error
}

func begin(ctx context.Context, run func(context.Context) error) *companion {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &companion{stop: stop, done: make(chan error, 1)}
	go func() { c.done <- run(ctx) }()
	return c
}

func (c *companion) end() error {
	c.stop()
	return <-c.done
}
