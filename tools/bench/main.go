package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"firstclick/internal/datagen"
	"firstclick/tools/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	events      int64   // clicks + checkouts, about two to one
	eventRate   float64 // events per second of event time
	partitions  int
	seed        uint64
	compression string
	rounds      int
	phases      []string
	dir         string // of the servers' data; empty: a temporary directory
	results     string // directory of the result files
	name        string // of the result files
	program     string // the firstclick binary; empty: build it
	watched     bool   // what three open pages cost, instead of the phases
	compare     string // result file to compare with; "last": the newest one that is committed
	live        liveOptions
	scale       scaleOptions
}

func parse(args []string, out io.Writer) (options, error) {
	opts := options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Int64Var(&opts.events, "events", 1_500_000, "clicks and checkouts together, about two to one")
	flags.Float64Var(&opts.eventRate, "event-rate", 250,
		"events per second of event time: 250 spreads the default over 100 minutes")
	flags.IntVar(&opts.partitions, "partitions", 4, "partitions of each topic")
	flags.StringVar(&opts.compression, "compression", "none",
		"of the topics' batches: "+strings.Join(datagen.Compressions(), ", "))
	flags.Uint64Var(&opts.seed, "seed", 1, "same seed, same events")
	flags.IntVar(&opts.rounds, "rounds", 5, "how often the phases take turns")
	phases := flags.String("phases", "all", "phases to run, comma separated, of "+strings.Join(phaseNames(), ","))
	flags.StringVar(&opts.dir, "dir", "", "directory for the servers' data (default: a temporary one)")
	flags.StringVar(&opts.results, "results", "bench/results/local",
		"directory for the result files; bench/results is for the record")
	flags.StringVar(&opts.name, "name", "", "name of the result files (default: date and time)")
	flags.StringVar(&opts.program, "program", "", "firstclick binary (default: built from here)")
	flags.BoolVar(&opts.watched, "watched", false,
		"measure instead what three open pages and a scrape a second cost a drain")
	flags.StringVar(&opts.compare, "compare", "",
		"compare with this result file, or with the last one of bench/results")
	opts.live.flags(flags)
	opts.scale.flags(flags)
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	known := datagen.Compressions()
	var err error
	switch {
	case flags.NArg() > 0:
		return opts, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case !slices.Contains(known, opts.compression):
		return opts, fmt.Errorf("compression is %q: want one of %s", opts.compression, strings.Join(known, ", "))
	case opts.events < 1 || opts.rounds < 1 || opts.partitions < 1 || !(opts.eventRate > 0):
		return opts, errors.New("events, rounds, partitions and event-rate have to be positive")
	}
	opts.phases, err = choose("phase", *phases, phaseNames())
	return opts, err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	opts, err := parse(args, out)
	if err != nil {
		return err
	}
	if opts.dir == "" {
		if opts.dir, err = testbed.TempDir("firstclick-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(opts.dir)
	}
	switch {
	case opts.live.on:
		return measureLive(ctx, opts, out)
	case opts.watched:
		return measureWatched(ctx, opts, out)
	case opts.scale.dimensions != "":
		return measureScale(ctx, opts, out)
	}
	return measureBacklog(ctx, opts, out)
}
