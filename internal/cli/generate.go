package cli

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firstclick/internal/datagen"
)

type generateFlags struct {
	jobFlags
	config     datagen.Config
	noDatabase bool
	seed       *uint64 // nil: a random one
}

func (g *generateFlags) flags(fs *pflag.FlagSet) {
	g.places(fs)
	d := &g.config
	defineSwitch(fs, &g.noDatabase, "no-database", "", "insert no users and products: only send events")
	define(fs, &d.Partitions, "partitions", "", "n", "4", parseWhole[int32](1, 10_000),
		"partitions of topics that are created because they are missing")
	define(fs, &d.Rate, "rate", "", "n", "200", parseRate,
		"events a second, clicks and checkouts together; 0: as fast as it goes")
	define(fs, &d.Count, "count", "", "n", "0", parseWhole[int64](0, math.MaxInt64), "events to make; 0: until stopped")
	define(fs, &g.seed, "seed", "", "n", "random", parseSeed,
		"same seed, same events; a random one is shown at the end")
	define(fs, &d.Users, "users", "", "n", "100", parseWhole(1, 1_000_000_000),
		"users 0..n-1 are inserted; events draw 1..n")
	define(fs, &d.Start, "start-time", "", "time", "", parseTime,
		"event time of the first event (RFC 3339); default: such that event time ends now")
	define(fs, &d.Speed, "speed", "", "n", "1", parseRate, "event seconds in a real second, with a rate")
	share := func(target *float64, name, usage string) {
		define(fs, target, name, "", "share", "0", parseShare, usage+" (0 to 1)")
	}
	share(&d.OutOfOrder, "out-of-order", "events up to 10 s behind later ones")
	share(&d.Late, "late", "clicks held back for 20 s to 20 min of event time")
	share(&d.Duplicate, "duplicate", "events sent again, equal")
	share(&d.Conflict, "conflict", "checkouts sent again with other content")
	share(&d.Poison, "poison", "bad records, in addition")
	share(&d.TooLarge, "too-large", "records of 1 to 5 MiB, in addition")
	share(&d.UnknownUser, "unknown-user", "sessions of a user that does not exist")
	share(&d.Future, "future", "events ahead of the clock")
	share(&d.HotKey, "hot-key", "sessions of the same user and product")
	define(fs, &d.Renames, "renames", "", "n", "0", parseRate, "users renamed a second")
	define(fs, &d.Compression, "compression", "", "codec", "none", oneOf(datagen.Compressions()...),
		"compression of batches: none, gzip, snappy, lz4 or zstd")
	defineSwitch(fs, &d.Unordered, "unordered", "",
		"do not wait for a click's acknowledgement before its checkout is sent")
	define(fs, &d.Transactional, "transactional", "", "id", "", parseText,
		"send in transactions with this transactional id")
	share(&d.Aborted, "aborted", "transactions that are aborted")
}

// check refuses values that do not fit together, and completes the generator's configuration.
func (g *generateFlags) check(cmd *cobra.Command, c *command) error {
	if g.noDatabase {
		g.database = ""
	}
	if err := g.jobFlags.check(cmd, c.Env); err != nil {
		return err
	}
	d := &g.config
	switch {
	case d.Aborted > 0 && d.Transactional == "":
		return usagef(cmd, "--aborted needs --transactional")
	case d.Renames > 0 && g.noDatabase:
		return usagef(cmd, "--renames needs the database: leave out --no-database")
	case d.Speed == 0:
		return usagef(cmd, "--speed: must be more than 0")
	case !d.Start.IsZero() && (d.Start.UTC().Year() < 1970 || d.Start.UTC().Year() > 9999):
		return usagef(cmd, "--start-time: event times are of the years 1970 to 9999")
	}
	d.Kafka, d.Database, d.ClicksTopic, d.CheckoutsTopic = g.kafka, g.database, g.clicksTopic, g.checkoutsTopic
	d.Seed = rand.Uint64N(1 << 48)
	if g.seed != nil {
		d.Seed = *g.seed
	}
	d.Logger, d.Progress = c.logger(), c.Err
	return nil
}

func (c *command) generate() *cobra.Command {
	var g generateFlags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Send clicks and checkouts, as the shop would",
		Long: `Sends sessions of clicks and checkouts to Kafka, and inserts users and products into Postgres. Faults can
be added: each is a share of the events. Ctrl-C stops cleanly.`,
		Example: `  firstclick generate
  firstclick generate --rate 0 --count 1500000 --seed 7
  firstclick generate --rate 2000 --out-of-order 0.05 --late 0.01 --poison 0.001 --renames 2`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.check(cmd, c); err != nil {
				return err
			}
			ctx := cmd.Context()
			err := reachKafka(ctx, g.config.Logger, g.kafka)
			if err == nil && !g.noDatabase {
				err = reachDatabase(ctx, g.config.Logger, g.database)
			}
			if err != nil {
				return err
			}
			sum, err := datagen.Run(ctx, g.config)
			fmt.Fprintf(c.Out, "%d clicks, %d checkouts, %d records in %s, seed %d\n",
				sum.Clicks, sum.Checkouts, sum.Records, sum.Elapsed.Round(time.Millisecond), g.config.Seed)
			fmt.Fprintf(c.Out, "to expect: %d rows, %d dead letters\n", sum.Rows(), sum.Dead())
			return err
		},
	}
	g.flags(cmd.Flags())
	return cmd
}
