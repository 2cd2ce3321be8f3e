package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"firstclick/tools/testbed"
)

// A binary built with the tag hooksTag leaves out the rule that hooksVariable names. No other build
// knows of it.
const (
	hooksTag      = "chaoshooks"
	hooksVariable = "FIRSTCLICK_CHAOS"
	clockVariable = "FIRSTCLICK_CHAOS_CLOCK" // how wrong the clock is

	wrongClock = "-10m" // of some instances: behind, so that their events seem to come from the future
)

// switches are the rules that can be left out, to show that the suite notices, each with the faults
// that show it soonest.
func switches() map[string]string {
	return map[string]string{
		"no-owner-check":  "instance SIGSTOP",
		"no-reassert":     "instance S,sink sessions,network to Postgres",
		"no-release-rule": "latency of some",
	}
}

func switchNames() string { return strings.Join(slices.Sorted(maps.Keys(switches())), ", ") }

// awaitWitness waits for the first thing that a witness has seen, or until ctx ends; it says which.
func (w *world) awaitWitness(ctx context.Context) (seen bool) {
	for !seen && testbed.Pause(ctx, second/2) {
		if err := w.db.Row(ctx, `SELECT EXISTS (SELECT FROM chaos.witness)`, nil, &seen); err != nil {
			w.log.Debug("witnesses not heard", "cause", err) // the server is down just now
		}
	}
	return seen
}
