package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"firstclick/internal/datagen"
	"firstclick/tools/testbed"
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

// choose splits a list by commas; each name has to be a known one. "" and "all" choose all.
func choose(what, list string, known []string) ([]string, error) {
	if list == "" || list == "all" {
		return known, nil
	}
	chosen := strings.Split(list, ",")
	for _, name := range chosen {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown %s %q: want some of %s", what, name, strings.Join(known, ","))
		}
	}
	return chosen, nil
}

// measureBacklog starts the servers, lays down the workload, runs the rounds and writes the report.
func measureBacklog(ctx context.Context, opts options, out io.Writer) (err error) {
	log := testbed.NewLog(out)
	p, load, err := startWithBacklog(ctx, opts, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	report := &Report{Machine: newMachine(), Workload: load}
	if report.Postgres, err = p.settings(ctx); err != nil {
		return err
	}
	for round := range opts.rounds {
		measured := Round{}
		for _, name := range phaseNames() {
			if !slices.Contains(opts.phases, name) {
				continue
			}
			figures, err := p.phase(ctx, name, round)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, name, err)
			}
			log.Say("round %d of %d: %-11s %s", round+1, opts.rounds, name, figures)
			measured[name] = figures
		}
		report.Rounds = append(report.Rounds, measured)
	}
	report.finish()
	if opts.compare != "" {
		if err := compareWith(opts.compare, report, out); err != nil {
			return err
		}
	}
	return save(report, opts, "backlog", report.Began, out)
}

// startWithBacklog starts the servers, lays down a workload and computes its answer.
func startWithBacklog(ctx context.Context, opts options, log *testbed.Log) (p *place, load Workload, err error) {
	if p, err = start(ctx, opts, log); err != nil {
		return nil, load, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	log.Say("producing %d events over %d partitions of each topic", opts.events, opts.partitions)
	load, err = p.produce(ctx, datagen.Config{
		Database: p.DSN, Partitions: int32(opts.partitions), Count: opts.events, Seed: opts.seed,
		EventRate: opts.eventRate, Compression: opts.compression,
	})
	if err != nil {
		return nil, load, err
	}
	log.Say("computing the answer by SQL over %d clicks and %d checkouts", load.Clicks, load.Checkouts)
	if err := p.answer(ctx, &load); err != nil {
		return nil, load, err
	}
	log.Say("%d rows, %d of them with a click, digest %s", load.Rows, load.Attributed, load.Digest)
	return p, load, nil
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
