package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"firstclick/tools/testbed"

	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	wrong, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	case wrong:
		os.Exit(1)
	}
}

// maxRate is the rate up to which every clicks partition stays nearer to its end than what counts
// as a backlog.
const maxRate = 400

func parse(args []string, out io.Writer) (options, error) {
	opts := options{seed: rand.Uint64N(1_000_000)}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Uint64Var(&opts.seed, "seed", opts.seed,
		"same seed, same faults in the same order in each lane (default: random)")
	flags.DurationVar(&opts.duration, "duration", 3*time.Minute,
		"how long things break; start, draining and the audit come on top")
	flags.StringVar(&opts.trial, "trial", "",
		"show one thing instead of breaking everything for three minutes: "+trialNames()+"; see doc.go")
	flags.Int64Var(&opts.events, "events", 0,
		"of a trial with a backlog: its clicks and checkouts (default: the trial's)")
	flags.IntVar(&opts.lives, "lives", 0, "of a trial that ends instances: how often (default: the trial's)")
	flags.Float64Var(&opts.rate, "rate", 300,
		"events per second of the generator, at most 400 unless in a trial: see doc.go")
	flags.IntVar(&opts.instances, "instances", 0, "1 to 3 (default: by the seed)")
	flags.StringVar(&opts.without, "without", "", "leave a rule out, then the run must be red: "+switchNames())
	flags.StringVar(&opts.only, "only", "",
		"only faults whose name contains one of these, comma separated (default with -without: those that show it)")
	flags.BoolVar(&opts.quiet, "quiet", false, "no faults at all")
	flags.BoolVar(&opts.race, "race", false,
		"build the instances with the race detector: a race ends them, and the run is red")
	flags.BoolVar(&opts.disk, "disk-full", false,
		"put the target table on a disk of "+smallDiskSize+" and let it fill up (needs root)")
	flags.StringVar(&opts.dir, "dir", "",
		"directory for data and logs (default: a temporary one, kept when the run is not as it should be)")
	flags.BoolVar(&opts.keep, "keep", false, "keep the temporary directory")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	opts.pause, opts.drain, opts.window, opts.late = 5*second, 4*time.Minute, shortWindow, shortLateness
	if opts.trial != "" {
		if err := opts.applyTrial(flags, args); err != nil {
			return opts, err
		}
	}
	if opts.instances == 0 {
		opts.instances = 1 + int(rand.New(rand.NewPCG(opts.seed, 10)).Int64N(3))
		if opts.without != "" {
			opts.instances = max(opts.instances, 2) // nobody but another instance can show what an owner is for
		}
	}
	switch {
	case flags.NArg() > 0:
		return opts, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case opts.duration <= 0 || opts.instances < 1 || opts.instances > 3 ||
		!(opts.rate > 0 && (opts.rate <= maxRate || opts.trial != "")):
		return opts, errors.New("duration has to be positive, instances 1 to 3, rate above 0 and at most 400")
	}
	if opts.without == "" {
		return opts, nil
	}
	faults, ok := switches()[opts.without]
	if !ok {
		return opts, fmt.Errorf("no switch %q: there are %s", opts.without, switchNames())
	}
	if opts.only == "" {
		opts.only = faults
	}
	return opts, nil
}

// run runs the suite and says whether anything is wrong; with a rule left out, whether nothing is.
func run(ctx context.Context, args []string, out io.Writer) (wrong bool, err error) {
	opts, err := parse(args, out)
	if err != nil {
		return false, err
	}
	temporary := opts.dir == ""
	if temporary {
		if opts.dir, err = os.MkdirTemp("", "firstclick-chaos-"); err != nil {
			return false, fmt.Errorf("make a directory: %w", err)
		}
		if err := os.Chmod(opts.dir, 0o755); err != nil { // Postgres runs as another user when we are root
			return false, fmt.Errorf("open the directory: %w", err)
		}
	}
	what := "every rule in force"
	if opts.without != "" {
		what = opts.without + " (must go red)"
	} else if opts.trial != "" {
		what = "trial " + opts.trial
	}
	fmt.Fprintf(out, "chaos: seed %d, %v, %d instances, %s; logs in %s/logs\n", opts.seed, opts.duration,
		opts.instances, what, opts.dir)
	w, err := newWorld(ctx, opts, out)
	if err == nil && opts.trial != "" {
		err = trials()[opts.trial].run(w, ctx)
	} else if err == nil {
		err = w.suffer(ctx)
	}
	err = errors.Join(err, w.close())
	if err != nil {
		return false, fmt.Errorf("seed %d: %w (logs in %s/logs)", opts.seed, err, opts.dir)
	}
	wrong = w.conclude() == (opts.without == "")
	if temporary && !opts.keep && !wrong {
		err = os.RemoveAll(opts.dir)
	}
	return wrong, err
}

// suffer is the run: feed and break for the duration, then mend, wait and judge.
func (w *world) suffer(ctx context.Context) error {
	w.makeSlots()
	for _, s := range w.lasting() {
		if err := s.start(); err != nil {
			return err
		}
	}
	watching, lookAway := context.WithCancel(context.WithoutCancel(ctx))
	defer lookAway()
	supervisors, watching := errgroup.WithContext(watching)
	for _, s := range w.lasting() {
		supervisors.Go(func() error { return s.supervise(watching) })
	}

	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	breaking, stopBreaking := context.WithTimeout(ctx, w.opts.duration)
	defer stopBreaking()
	lanes, breaking := errgroup.WithContext(breaking)
	var f *fed
	fedUp := make(chan error, 1)
	go func() {
		var err error
		f, err = w.feed(feeding)
		stopBreaking()
		fedUp <- err
	}()
	for _, l := range newLanes(w) {
		lanes.Go(func() error { return l.run(breaking) })
	}
	shown := w.opts.without != "" && w.awaitWitness(breaking)
	if shown {
		stopBreaking()
	}
	<-breaking.Done()
	err := lanes.Wait() // each has mended what it broke
	if w.opts.expire {  // restore points had no time to move among the faults: what is fed meanwhile moves them
		waiting, cancel := context.WithTimeout(feeding, patience)
		for (w.expired[clicksTopic] == 0 || w.expired[checkoutsTopic] == 0) && testbed.Pause(waiting, second) {
			w.expire("retention")
		}
		cancel()
	}
	testbed.Pause(ctx, 2*second)
	stopFeeding()
	w.out.Say("nothing breaks any more")
	if err := errors.Join(err, <-fedUp, ctx.Err()); err != nil {
		return err
	}
	look := w.judge
	if shown { // it is red: what the rule left out has made of the table is of no interest any more
		look = w.hearWitnesses
	}
	drained := look(ctx, f)
	lookAway()
	return errors.Join(drained, supervisors.Wait())
}

// conclude prints the verdict.
func (w *world) conclude() (red bool) {
	for _, name := range slices.Sorted(maps.Keys(w.tally)) {
		w.out.Say("%4d x %s", w.tally[name], name)
	}
	if len(w.wrong) == 0 {
		w.out.Say("GREEN: nothing lost, nothing twice (seed %d)", w.opts.seed)
		return false
	}
	w.out.Say("RED: %d findings; the seed is %d, logs are in %s/logs", len(w.wrong), w.opts.seed, w.dir)
	for _, text := range w.wrong {
		line, _, _ := strings.Cut(text, "\n")
		w.out.Say("  %s", line)
	}
	return true
}
