package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// The phases, in the order in which they take turns.
const (
	phaseRead       = "read"
	phaseDecode     = "decode"
	phaseCopy       = "copy"
	phaseCopyAgain  = "copy-again"
	phaseCopyTwo    = "copy-2"
	phaseCopySorted = "copy-sorted"
	phaseDrain      = "drain"
)

func phaseNames() []string {
	return []string{phaseRead, phaseDecode, phaseCopy, phaseCopyTwo, phaseCopySorted, phaseDrain, phaseCopyAgain}
}

// phaseSet is a flag value: the phases to run.
type phaseSet map[string]bool

func allPhases() phaseSet {
	set := phaseSet{}
	for _, name := range phaseNames() {
		set[name] = true
	}
	return set
}

// String lists the phases.
func (s phaseSet) String() string { return strings.Join(slices.Sorted(maps.Keys(s)), ",") }

// Set replaces the phases by those in value.
func (s *phaseSet) Set(value string) error {
	*s = phaseSet{}
	for name := range strings.SplitSeq(value, ",") {
		if !slices.Contains(phaseNames(), name) {
			return fmt.Errorf("unknown phase %q: want some of %s", name, strings.Join(phaseNames(), ","))
		}
		(*s)[name] = true
	}
	return nil
}

// newSay makes the function that tells what goes on, with the seconds since it was made.
func newSay(out io.Writer) func(format string, args ...any) {
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(out, "[%5.0fs] %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// measure starts the servers, lays down the workload and runs the rounds.
func measure(ctx context.Context, opts options, out io.Writer) (report *Report, err error) {
	say := newSay(out)
	say("starting Kafka and Postgres in %s", opts.dir)
	place, err := start(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopErr := place.stop(); err == nil {
			err = stopErr
		}
	}()

	say("producing %d events over %d partitions of each topic", opts.events, opts.partitions)
	load, err := place.produce(ctx, opts)
	if err != nil {
		return nil, err
	}
	say("computing the answer by SQL over %d clicks and %d checkouts", load.Clicks, load.Checkouts)
	if err := place.answer(ctx, &load); err != nil {
		return nil, err
	}
	say("%d rows, %d of them with a click, digest %s", load.Rows, load.Attributed, load.Digest)

	report = newReport(opts, load)
	if report.Postgres, err = place.settings(ctx); err != nil {
		return nil, err
	}
	for round := range opts.rounds {
		measured := Round{}
		for _, name := range phaseNames() {
			if !opts.phases[name] {
				continue
			}
			figures, err := place.phase(ctx, name, round)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", round+1, name, err)
			}
			say("round %d of %d: %-11s %s", round+1, opts.rounds, name, figures)
			measured[name] = figures
		}
		report.Rounds = append(report.Rounds, measured)
	}
	report.finish()
	return report, nil
}

func (p *place) phase(ctx context.Context, name string, round int) (Figures, error) {
	switch name {
	case phaseRead:
		return p.read(ctx, nil)
	case phaseDecode:
		return p.decode(ctx)
	case phaseCopy, phaseCopyAgain:
		return p.copyRows(ctx, p.arrival)
	case phaseCopyTwo:
		return p.copyRows(ctx, p.halves...)
	case phaseCopySorted:
		return p.copyRows(ctx, p.sorted)
	case phaseDrain:
		return p.drain(ctx, round)
	}
	return Figures{}, fmt.Errorf("unknown phase %q", name)
}
