package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// trial is a run that shows one thing, in the place of the mixture of everything.
type trial struct {
	about string
	set   func(o *options) // what it needs, before the flags that were given
	run   func(w *world, ctx context.Context) error
}

// trials are what -trial knows.
func trials() map[string]trial {
	return map[string]trial{
		"soak": {
			about: "30 minutes at 5,000 events/s with faults: memory, goroutines, connections, slots and files stay " +
				"flat",
			set: func(o *options) {
				o.duration, o.rate, o.instances, o.spared = 30*time.Minute, 5_000, 2, 1
				o.pause, o.drain, o.memory = 40*second, 10*time.Minute, "1GiB"
			},
			run: (*world).soak,
		},
		"kills": {
			about: "100 SIGKILLs at random moments in one backlog",
			set: func(o *options) {
				o.instances, o.events, o.lives, o.drain = 1, 3_000_000, 100, 10*time.Minute
			},
			run: (*world).kills,
		},
		"storm": {
			about: "three instances and a rebalance every second for two minutes",
			set: func(o *options) {
				o.duration, o.instances, o.only, o.storm = 2*time.Minute, 3, "rebalance storm", 10*time.Minute
			},
			run: (*world).suffer,
		},
		"takeover": {
			about: "how long shards stand still after SIGKILL and after SIGTERM, and that the others do not",
			set:   func(o *options) { o.instances, o.lives, o.plain = 2, 3, true },
			run:   (*world).takeovers,
		},
		"narrow": {
			about: "a backlog to a Postgres behind 50 ms and 1 MB/s: lag grows, memory does not",
			set: func(o *options) {
				o.instances, o.events, o.duration, o.memory, o.limit = 1, 1_000_000, time.Minute, "256MiB", 256<<20
			},
			run: (*world).narrow,
		},
		"ahead": {
			about: "a backlog with one clicks partition three hours ahead of the others, larger than the budget: it " +
				"pauses, and rows come",
			set: func(o *options) {
				o.instances, o.events, o.memory, o.limit = 1, 3_000_000, "192MiB", 192<<20
			},
			run: (*world).ahead,
		},
		"retention": {
			about: "Kafka deletes what no restore point needs, which nobody may miss; then what somebody needs: exit " +
				"code 4, and what to run",
			set: func(o *options) {
				o.duration, o.instances, o.window, o.late, o.expire = 70*second, 2, "1m", "5m", true
			},
			run: (*world).retention,
		},
		"restart": {
			about: "a restart with a window of 10 million clicks: the first new row, and the pace of reading beside " +
				"a bare consumer's",
			set: func(o *options) {
				o.instances, o.events, o.drain = 1, 15_000_000, 15*time.Minute
				o.window, o.plain, o.straight = "1h", true, true
			},
			run: (*world).restart,
		},
	}
}

func trialNames() string { return strings.Join(slices.Sorted(maps.Keys(trials())), ", ") }

// applyTrial sets what the trial needs; parsing the flags again lets those that were given count
// more.
func (o *options) applyTrial(flags *flag.FlagSet, args []string) error {
	t, ok := trials()[o.trial]
	if !ok {
		return fmt.Errorf("no trial %q: there are %s", o.trial, trialNames())
	}
	t.set(o)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.instances <= o.spared {
		return fmt.Errorf("trial %s needs %d instances or more", o.trial, o.spared+1)
	}
	return nil
}
