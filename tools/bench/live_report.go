package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/tools/testbed"
)

// The live scenarios.
const (
	liveFloor     = "floor"
	liveSteady    = "steady"
	liveBacklog   = "backlog"
	liveRebalance = "rebalance"
)

type liveOptions struct {
	on            bool
	scenarios     string
	rates         string
	disturbedRate float64
	warmUp        time.Duration
	length        time.Duration
	backlog       int64
	warmBroker    time.Duration
}

func (o *liveOptions) flags(flags *flag.FlagSet) {
	flags.BoolVar(&o.on, "live", false, "measure the latency of live loads instead of a backlog")
	flags.StringVar(&o.scenarios, "scenarios", "floor,steady,backlog,rebalance",
		"with -live: scenarios to run, comma separated")
	flags.StringVar(&o.rates, "rates", "1000,5000,15000,50000",
		"with -live: events per second of the steady loads, comma separated")
	flags.Float64Var(&o.disturbedRate, "disturbed-rate", 5000,
		"with -live: events per second while a backlog drains and during rebalances")
	flags.DurationVar(&o.warmUp, "warm-up", 5*time.Second, "with -live: how long a load runs before it counts")
	flags.DurationVar(&o.warmBroker, "warm-broker", 25*time.Second,
		"with -live: how long a first load runs that does not count, for the broker to compile itself")
	flags.DurationVar(&o.length, "length", 20*time.Second, "with -live: how long each steady load counts")
	flags.Int64Var(&o.backlog, "backlog", 300_000, "with -live: records of the backlog of one partition")
}

func (o *liveOptions) plan() (rates []float64, scenarios []string, err error) {
	for text := range strings.SplitSeq(o.rates, ",") {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || !(rate > 0) {
			return nil, nil, fmt.Errorf("rate %q: want a positive number", text)
		}
		rates = append(rates, rate)
	}
	scenarios, err = choose("scenario", o.scenarios, []string{liveFloor, liveSteady, liveBacklog, liveRebalance})
	if err != nil {
		return nil, nil, err
	}
	if o.length <= 0 || o.warmUp < time.Second || o.backlog < 1 || !(o.disturbedRate > 0) {
		return nil, nil, errors.New("length, backlog and disturbed-rate have to be positive, warm-up a second or more")
	}
	return rates, scenarios, nil
}

// Floors are what no pipeline can beat here.
type Floors struct {
	Commit  Quantiles `json:"commit"`  // of one updated row, on an idle server
	Consume Quantiles `json:"consume"` // from when a record was due to a bare consumer having it, at the disturbed rate
}

// LiveReport is what a run of the live bench found.
type LiveReport struct {
	Machine
	Partitions int          `json:"partitions"`
	Floors     Floors       `json:"floors"`
	Results    []LiveResult `json:"results"`
}

// measureLive runs the scenarios and writes the report.
func measureLive(ctx context.Context, opts options, out io.Writer) (err error) {
	rates, scenarios, err := opts.live.plan()
	if err != nil {
		return err
	}
	log := testbed.NewLog(out)
	p, err := start(ctx, opts, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.people(ctx, liveUsers); err != nil {
		return err
	}
	report := &LiveReport{Machine: newMachine(), Partitions: opts.partitions}
	if report.Postgres, err = p.settings(ctx); err != nil {
		return err
	}
	// A young Java compiles more than it works, on the two cores that are measured.
	if opts.live.warmBroker > 0 {
		log.Say("warming up the broker for %v", opts.live.warmBroker)
		warmUp := steady(time.Second, opts.live.warmBroker)
		if _, err := p.runLive(ctx, newTopics("warm-up", opts.partitions), warmRate, 0, warmUp); err != nil {
			return err
		}
	}
	for _, scenario := range scenarios {
		results, err := p.liveScenario(ctx, scenario, rates, opts, report, log)
		if err != nil {
			return err
		}
		report.Results = append(report.Results, results...)
	}
	return save(report, opts, "live", report.Began, out)
}

func (p *place) liveScenario(ctx context.Context, scenario string, rates []float64, opts options, report *LiveReport,
	log *testbed.Log,
) ([]LiveResult, error) {
	type one struct {
		rate  float64
		aside int32
		do    script
	}
	var plan []one
	o := &opts.live
	switch scenario {
	case liveFloor:
		var err error
		if report.Floors, err = p.floors(ctx, o.disturbedRate, opts.partitions); err != nil {
			return nil, err
		}
		log.Say("a bare commit:  %s", report.Floors.Commit)
		log.Say("a bare consumer: %s", report.Floors.Consume)
	case liveSteady:
		for _, rate := range rates {
			plan = append(plan, one{rate, 0, steady(o.warmUp, o.length)})
		}
	case liveBacklog:
		if opts.partitions < 2 {
			return nil, errors.New("a backlog of one partition needs another one: -partitions 2 or more")
		}
		plan = append(plan, one{o.disturbedRate, 1, burst(o.warmUp, o.backlog, false)},
			one{o.disturbedRate, 1, burst(o.warmUp, o.backlog, true)})
	case liveRebalance:
		plan = append(plan, one{o.disturbedRate, 0, rebalance(o.warmUp)})
	}
	var all []LiveResult
	for i, it := range plan {
		t := newTopics(fmt.Sprintf("%s-%.0f-%d", scenario, it.rate, i), opts.partitions)
		results, err := p.runLive(ctx, t, it.rate, it.aside, it.do)
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			log.Say("%6.0f events/s, %s: %s", r.Rate, r.Scenario, r.Latency)
			log.Say("       acknowledged by Kafka: %s; cores %.2f firstclick %.2f Kafka %.2f Postgres %.2f bench; "+
				"sender at most %.1f ms behind; looks %s",
				r.Acked, r.Cores.Firstclick, r.Cores.Kafka, r.Cores.Postgres, r.Cores.Bench, r.Behind, r.Looks)
		}
		all = append(all, results...)
	}
	return all, nil
}

// floorTime is how long the bare consumer reads; the second half counts.
const floorTime = 6 * time.Second

// warmRate is the pace of the load that warms up the broker, in events per second.
const warmRate = 15_000

// floors measures a commit, and a consumer that does nothing.
func (p *place) floors(ctx context.Context, rate float64, partitions int) (f Floors, err error) {
	if f.Commit, err = p.bareCommits(ctx); err != nil {
		return f, err
	}
	t := newTopics("floor", partitions)
	if err := p.createTopics(ctx, t); err != nil {
		return f, err
	}
	l, err := newLoad(p.kafka.Addr, t, rate, 0)
	if err != nil {
		return f, err
	}
	defer l.client.Close()
	from := map[int32]kgo.Offset{}
	for i := range t.partitions {
		from[i] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka.Addr),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.checkouts: from}))
	if err != nil {
		return f, fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	l.begin = time.Now()
	sending, enough := context.WithTimeout(ctx, floorTime)
	defer enough()
	sent := make(chan error, 1)
	go func() { sent <- l.run(sending) }()
	var took []int64
	for sending.Err() == nil {
		fetches := client.PollFetches(sending)
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Timestamp.Sub(l.begin) > floorTime/2 { // the record's own timestamp is to the millisecond
				took = append(took, int64(now.Sub(r.Timestamp)))
			}
		})
	}
	f.Consume = quantiles(took)
	return f, <-sent
}

// bareCommits measures updates of one row, for two seconds.
func (p *place) bareCommits(ctx context.Context) (Quantiles, error) {
	var took []int64
	err := p.With(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `DROP TABLE IF EXISTS public.bare; CREATE TABLE public.bare AS SELECT 1 AS n`)
		for began := time.Now(); err == nil && time.Since(began) < 2*time.Second; {
			at := time.Now()
			_, err = conn.Exec(ctx, `UPDATE public.bare SET n = n + 1`)
			took = append(took, int64(time.Since(at)))
		}
		return err
	})
	if err != nil {
		return Quantiles{}, fmt.Errorf("measure bare commits: %w", err)
	}
	return quantiles(took), nil
}

// Markdown is the report for people.
func (r *LiveReport) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %d+%d partitions.\n\n", r.Machine.String(), r.Partitions, r.Partitions)
	if r.Floors.Commit.Count > 0 {
		fmt.Fprintf(&b,
			"A bare commit of one row takes %.2f ms (p99 %.2f ms); a bare consumer has a record %.2f ms after it was "+
				"due (p99 %.2f ms).\n\n",
			r.Floors.Commit.P50, r.Floors.Commit.P99, r.Floors.Consume.P50, r.Floors.Consume.P99)
	}
	b.WriteString("| events/s | load | p50 ms | p99 ms | p99.9 ms | max ms | acked p50 | acked p99 | checkouts | " +
		"cores firstclick | Kafka | Postgres | bench |\n")
	b.WriteString("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, l := range r.Results {
		fmt.Fprintf(&b, "| %.0f | %s | **%.1f** | **%.1f** | %.1f | %.1f | %.1f | %.1f | %d |", l.Rate, l.Scenario,
			l.Latency.P50, l.Latency.P99, l.Latency.P999, l.Latency.Max, l.Acked.P50, l.Acked.P99, l.Latency.Count)
		fmt.Fprintf(&b, " %s | %s | %s | %s |\n", number(l.Cores.Firstclick, "%.2f"), number(l.Cores.Kafka, "%.2f"),
			number(l.Cores.Postgres, "%.2f"), number(l.Cores.Bench, "%.2f"))
	}
	return b.String()
}
