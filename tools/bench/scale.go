package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"firstclick/internal/datagen"
	"firstclick/tools/testbed"
)

// The dimensions along which cost may grow.
const (
	scaleKeys       = "keys"
	scalePartitions = "partitions"
	scaleUsers      = "users"
	scaleLate       = "late"
	scaleDuplicates = "duplicates"
	scaleTable      = "table"
	scaleWindow     = "window"
	scaleRestart    = "restart"
	scaleStartUp    = "start-up"
)

func scaleNames() []string {
	return []string{scaleKeys, scalePartitions, scaleUsers, scaleLate, scaleDuplicates, scaleTable, scaleWindow,
		scaleRestart, scaleStartUp}
}

type scaleOptions struct {
	dimensions string
	events     int64
	users      string
	partitions string
	tableRows  int64
	liveClicks string
}

func (o *scaleOptions) flags(flags *flag.FlagSet) {
	flags.StringVar(&o.dimensions, "scale", "", "measure how cost grows along some of "+strings.Join(scaleNames(),
		",")+", or all, instead of a backlog")
	flags.Int64Var(&o.events, "scale-events", 900_000, "with -scale: events of each workload")
	flags.StringVar(&o.users, "scale-users", "1000,100000,1000000,10000000",
		"with -scale users: how many users there are; the cache holds 100,000")
	flags.StringVar(&o.partitions, "scale-partitions", "1,16,64", "with -scale partitions: partitions of each topic")
	flags.Int64Var(&o.tableRows, "table-rows", 10_000_000, "with -scale table: rows that stand already")
	flags.StringVar(&o.liveClicks, "live-clicks", "1000000,10000000,50000000", "with -scale window: live clicks")
}

// ScaleResult is one point of one dimension.
type ScaleResult struct {
	Dimension string `json:"dimension"`
	Variant   string `json:"variant"`
	// pace to that of what it is compared with, median of the pairs
	Ratio   float64            `json:"ratio,omitempty"`
	Figures map[string]float64 `json:"figures"`
	Pairs   []float64          `json:"pairs,omitempty"`
}

// ScaleReport is what a run of the scale benches found.
type ScaleReport struct {
	Machine
	Events  int64         `json:"events"`
	Rounds  int           `json:"rounds"`
	Results []ScaleResult `json:"results"`
}

// scale is the scale benches at work.
type scale struct {
	p      *place
	opts   options
	log    *testbed.Log
	report *ScaleReport
	base   *place // the workload that others are compared with; nil: not laid yet
	rounds int    // drains so far: each has a group of its own
}

// measureScale runs the dimensions and writes the report.
func measureScale(ctx context.Context, opts options, out io.Writer) (err error) {
	plan, err := choose("dimension", opts.scale.dimensions, scaleNames())
	if err != nil {
		return err
	}
	s := &scale{opts: opts, log: testbed.NewLog(out), report: &ScaleReport{Machine: newMachine(),
		Events: opts.scale.events, Rounds: opts.rounds}}
	if slices.ContainsFunc(plan, func(name string) bool { return name != scaleWindow }) {
		if s.p, err = start(ctx, opts, s.log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.p.stop()) }()
		if s.report.Postgres, err = s.p.settings(ctx); err != nil {
			return err
		}
		if err := s.p.people(ctx, liveUsers); err != nil {
			return err
		}
	}
	var failed error // what was found until then is kept all the same
	for _, name := range plan {
		if err := s.dimension(ctx, name); err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
			break
		}
	}
	return errors.Join(failed, save(s.report, opts, "scale", s.report.Began, out))
}

// change makes a workload another one than the plain workload.
type change func(*datagen.Config)

func (s *scale) dimension(ctx context.Context, name string) error {
	o := &s.opts.scale
	switch name {
	case scaleKeys:
		return s.variants(ctx, name, nil, map[string]change{
			"zipf, exponent 1.1, a million keys": func(c *datagen.Config) { c.Zipf = 1.1 },
			"one key has every click":            func(c *datagen.Config) { c.HotKey = 1 },
		})
	case scalePartitions:
		return s.numbers(ctx, name, o.partitions, nil, func(c *datagen.Config, n int64) { c.Partitions = int32(n) })
	case scaleLate: // up to 20 minutes late: with this lateness every one of them corrects its rows
		return s.variants(ctx, name, []string{"--lateness", "30m"}, map[string]change{
			" 5 % of clicks late": func(c *datagen.Config) { c.Late = 0.05 },
			"20 % of clicks late": func(c *datagen.Config) { c.Late = 0.2 },
		})
	case scaleDuplicates:
		return s.variants(ctx, name, nil, map[string]change{
			" 5 % of events twice": func(c *datagen.Config) { c.Duplicate = 0.05 },
			"20 % of events twice": func(c *datagen.Config) { c.Duplicate = 0.2 },
		})
	case scaleUsers:
		return s.numbers(ctx, name, o.users, s.p.people, func(c *datagen.Config, n int64) { c.Users = int(n) })
	case scaleTable:
		return s.table(ctx)
	case scaleWindow:
		return s.window()
	case scaleRestart:
		return s.restart(ctx)
	case scaleStartUp:
		return s.startUp(ctx)
	}
	return fmt.Errorf("unknown dimension %q", name)
}

// add takes in a result and tells of it.
func (s *scale) add(r ScaleResult) {
	s.log.Say("%s, %s: %s", r.Dimension, r.Variant, r.text())
	s.report.Results = append(s.report.Results, r)
}

func (r *ScaleResult) text() string {
	var parts []string
	if r.Ratio > 0 {
		parts = append(parts, fmt.Sprintf("ratio **%.2f**", r.Ratio))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		parts = append(parts, fmt.Sprintf("%s %s", name, short(r.Figures[name])))
	}
	return strings.Join(parts, ", ")
}

// short writes a figure with as many digits as mean something.
func short(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// Markdown is the report for people.
func (r *ScaleReport) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b,
		"%s. Workloads of %d events, %d rounds; a ratio is a pace to that of the plain workload, drained in turn "+
			"with it.\n\n", r.Machine.String(), r.Events, r.Rounds)
	b.WriteString("| along | at | figures |\n|---|---|---|\n")
	for i := range r.Results {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.Results[i].Dimension, strings.TrimSpace(r.Results[i].Variant),
			r.Results[i].text())
	}
	return b.String()
}
