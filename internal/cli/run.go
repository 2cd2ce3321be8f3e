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
	"firstclick/internal/pgsession"
	"firstclick/migrations"
	"firstclick/pipeline"
	"firstclick/web"
)

// runFlags are the flags of run.
type runFlags struct {
	jobFlags
	page          pageFlags
	start         string
	usersCache    int
	payloads      int64         // bytes
	retention     time.Duration // 0: for ever
	memoryLimit   int64         // bytes; 0: half of what is there
	untilCaughtUp bool
	noMigrate     bool
	instance      string
	groupInstance string
	dryRun        bool
}

func (r *runFlags) flags(fs *pflag.FlagSet) {
	r.places(fs)
	r.replicationFlag(fs)
	r.rule(fs)
	r.finality(fs)
	r.page.flags(fs)
	start := define(fs, &r.start, "start", "START", "when", "earliest", parseStart,
		"where a group without offsets begins: earliest, latest, or a time (RFC 3339)")
	start.words = []string{"earliest", "latest"}
	define(fs, &r.groupInstance, "group-instance", "KAFKA_GROUP_INSTANCE", "name", "", parseText,
		"static member of the group, a name per instance: "+
			"a restart within the session timeout gets the same partitions back at once")
	define(fs, &r.usersCache, "users-cache", "USERS_CACHE", "n", "100000", parseWhole(1, math.MaxInt32),
		"most users held in memory")
	define(fs, &r.payloads, "dead-letter-payloads", "DEAD_LETTER_PAYLOADS", "bytes", "64MiB", parseBytes,
		"bytes of bad records kept with their dead letters, per reason and hour; "+
			"beyond that only place, size and hash are kept")
	define(fs, &r.retention, "dead-letters-retention", "DEAD_LETTERS_RETENTION", "duration", "never", parseRetention,
		"delete older dead letters, open ones too; must be longer than the topics' retention, or verify misses them")
	define(fs, &r.memoryLimit, "memory-limit", "MEMORY_LIMIT", "bytes", "half", parseMemory,
		"largest memory to use: 512MiB, 2GB, bytes, or half of the machine or cgroup")
	defineSwitch(fs, &r.untilCaughtUp, "until-caught-up", "",
		"end with exit code 0 once all records from before the start are in Postgres")
	defineSwitch(fs, &r.noMigrate, "no-migrate", "NO_MIGRATE", "do not update the tables: migrate runs elsewhere")
	defineSwitch(fs, &r.dryRun, "dry-run", "",
		"print every setting with its source, connect to nothing, and end")
	define(fs, &r.instance, "instance", "", "name", "", parseText,
		"application_name of our Postgres sessions; default: a random one")
	fs.Lookup("instance").Hidden = true
}

// pipelineConfig returns the flags as the pipeline takes them. The page listens on listen.
func (r *runFlags) pipelineConfig(limit int64, listen string, logger *slog.Logger) pipeline.Config {
	return pipeline.Config{
		Kafka: r.kafka, Database: r.database, Replication: r.replication,
		ClicksTopic: r.clicksTopic, CheckoutsTopic: r.checkoutsTopic, Group: r.group, Start: r.start,
		Window: r.window, Lateness: r.lateness, OutOfOrder: r.outOfOrder, MaxSkew: r.skew, Zone: r.zone,
		UsersCache: r.usersCache, MemoryLimit: limit, Payloads: r.payloads, Retention: r.retention,
		UntilCaughtUp: r.untilCaughtUp, Instance: r.instance, Static: r.groupInstance,
		Version: thisBuild().version, Listen: listen, Logger: logger,
	}
}

func (c *command) run() *cobra.Command {
	var r runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Read Kafka, join, write Postgres: the main job",
		Long: `Reads clicks and checkouts, finds the first click of every checkout and writes it to
commerce.attributed_checkouts, exactly once, until it is stopped. At SIGTERM or Ctrl-C it finishes the
transaction, leaves the group and ends with exit code 0. A second one ends it at once.

Exit codes: 0 done, 1 failed, 2 usage, 3 fenced again and again, 4 data gap.`,
		Example: `  firstclick run
  firstclick run --kafka broker:9092 --database postgres://app@db:5432/shop --start latest
  firstclick run --until-caught-up --listen 127.0.0.1:0
  firstclick run --config firstclick.yaml --dry-run
  KAFKA_SASL=scram-sha-512 KAFKA_USER=app KAFKA_PASSWORD_FILE=/run/secrets/kafka firstclick run --kafka-tls`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(cmd, c.Env); err != nil {
				return err
			}
			if err := r.page.check(cmd); err != nil {
				return err
			}
			if r.dryRun {
				return c.printSettings(cmd, r)
			}
			return c.runPipeline(cmd.Context(), r, cmd.Flags())
		},
	}
	r.flags(cmd.Flags())
	return cmd
}

// runPipeline serves the page and runs the pipeline until ctx ends. It takes the port first: the
// page shows how the rest starts.
func (c *command) runPipeline(ctx context.Context, r runFlags, fs *pflag.FlagSet) (err error) {
	logger := c.logger()
	limit := memoryLimit(r.memoryLimit, os.DirFS("/"))
	debug.SetMemoryLimit(limit)
	if os.Getenv("GOGC") == "" {
		tuning := begin(ctx, tuneCollector)
		defer func() { err = errors.Join(err, tuning.end()) }()
	}

	registry := newRegistry()
	server, err := web.New(web.Config{Listen: r.page.listen, Gatherer: registry, Hosts: r.page.hosts, Logger: logger})
	if err != nil {
		return fmt.Errorf("%w: choose another with --listen, or port 0", err)
	}
	config := r.pipelineConfig(limit, server.Addr().String(), logger)
	config.Progress, config.Registry = c.Err, registry
	job, err := pipeline.New(config)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	page, err := r.newPage(job, fs, logger)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	server.Checks(job.Health)
	server.Mount(page)
	if r.page.profiles {
		server.Profiles()
	}
	if r.page.auth != nil {
		for _, warning := range r.page.auth.Warnings {
			logger.WarnContext(ctx, "the file of --listen-auth-file is not safe", "cause", warning)
		}
		server.Guard(r.page.auth)
	}

	logger.InfoContext(ctx, "serving the page, /livez, /readyz and /metrics", "address", server.Addr().String())
	serving := begin(ctx, server.Run)
	defer func() { err = errors.Join(err, serving.end()) }()
	if err := r.prepare(ctx, logger); err != nil {
		// A stop while it waits for the servers is in order: nothing has begun.
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	logger.InfoContext(ctx, "connected", "kafka", strings.Join(r.kafka.Brokers, ","),
		"database", shownDatabase(r.database), "clicks_topic", r.clicksTopic, "checkouts_topic", r.checkoutsTopic,
		"group", r.group, "memory_limit", limit)
	return job.Run(ctx)
}

// prepare waits for Kafka and Postgres, brings the tables up to date and checks that Postgres lets
// us mirror the users.
func (r *runFlags) prepare(ctx context.Context, logger *slog.Logger) error {
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
	if err != nil { // it answered a moment ago: wait for it once more
		if err := reachDatabase(ctx, logger, r.database); err != nil {
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

// newRegistry returns a registry with the metrics of a Go process, and firstclick_build_info as
// Prometheus' own programs have it.
func newRegistry() *prometheus.Registry {
	b := thisBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "firstclick_build_info",
		Help:        "Always 1; the labels say what this binary was built from.",
		ConstLabels: prometheus.Labels{"version": b.version, "revision": b.commit, "goversion": b.goVersion},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// companion runs beside the main work. It does not end with the context of the main work, but when
// end is called.
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
