package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"firstclick/tools/testbed"
)

// LiveResult is what one load, or one part of it, found. Latency is from when the checkout was due
// to when another session of Postgres saw its row. Acked is from then to Kafka's answer to the
// producer, a part in which firstclick has no share.
type LiveResult struct {
	Scenario string    `json:"scenario"`
	Rate     float64   `json:"events_per_second"`
	Seconds  float64   `json:"seconds"`
	Latency  Quantiles `json:"latency"`
	Acked    Quantiles `json:"acked"`
	Looks    Quantiles `json:"looks"` // between two looks of the watcher: the resolution
	Behind   float64   `json:"sender_behind_ms"`
	Cores    Load      `json:"cores"`
}

// Load is how many cores each took, on average.
type Load struct {
	Firstclick float64 `json:"firstclick"`
	Kafka      float64 `json:"kafka"`
	Postgres   float64 `json:"postgres"`
	Bench      float64 `json:"bench"` // load and watcher
}

// usage starts to measure the cores; calling what it returns gives the load since then.
func (l *live) usage() func() Load {
	now := func() Load {
		return Load{
			Firstclick: testbed.CPU(l.first.PID()), Kafka: testbed.CPU(l.p.kafka.PID()),
			Postgres: testbed.FamilyCPU(l.p.postgres.PID()), Bench: ownCPU(),
		}
	}
	began, before := time.Now(), now()
	return func() Load {
		wall, after := time.Since(began).Seconds(), now()
		return Load{
			Firstclick: (after.Firstclick - before.Firstclick) / wall, Kafka: (after.Kafka - before.Kafka) / wall,
			Postgres: (after.Postgres - before.Postgres) / wall, Bench: (after.Bench - before.Bench) / wall,
		}
	}
}

// live is one scenario at work.
type live struct {
	p       *place
	topics  topics
	load    *load
	watcher *watcher
	first   *testbed.Instance
	took    Load
}

// span is a part of a scenario, in time since the load began.
type span struct {
	name     string
	from, to time.Duration
}

// script does to a live load what the scenario is about, and says which spans count. It returns
// when the load may end.
type script func(ctx context.Context, l *live) ([]span, error)

// patience is how long a scenario may take to write everything that was produced.
const patience = time.Minute

// runLive runs one scenario: topics of its own, an instance that is ready, a load, and at the end
// the answer.
func (p *place) runLive(ctx context.Context, t topics, rate float64, aside int32, do script) (results []LiveResult,
	err error) {
	if err := p.empty(ctx); err != nil {
		return nil, err
	}
	if err := p.createTopics(ctx, t); err != nil {
		return nil, err
	}
	l := &live{p: p, topics: t}
	if l.load, err = newLoad(p.kafka.Addr, t, rate, aside); err != nil {
		return nil, err
	}
	defer l.load.client.Close()
	l.watcher = &watcher{group: t.group, load: l.load}
	if l.watcher.conn, err = p.Connect(ctx); err != nil {
		return nil, err
	}
	defer l.watcher.conn.Close(ctx)
	if l.first, err = p.launch(t.group, t); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.first.Stop(stopTime)) }()
	if _, err := l.first.Ready(ctx); err != nil {
		return nil, err
	}
	spans, err := l.run(ctx, do)
	if err == nil {
		err = l.check(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", t.group, err, testbed.Tail(l.first.LogFile, 20))
	}
	for _, s := range spans {
		results = append(results, l.result(s))
	}
	return results, nil
}

// stopTime is how long an instance may take to end in good order.
const stopTime = 30 * time.Second

// run sends, watches and lets the script act; then waits until everything is seen.
func (l *live) run(ctx context.Context, do script) (spans []span, err error) {
	l.load.begin = time.Now()
	watching, blind := context.WithCancel(ctx)
	defer blind()
	sending, enough := context.WithCancel(ctx)
	defer enough()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.load.run(sending) })
	watched := make(chan error, 1)
	go func() { watched <- l.watcher.run(watching) }()
	g.Go(func() error {
		defer enough()
		var err error
		spans, err = do(ctx, l)
		return err
	})
	if err = g.Wait(); err == nil {
		err = l.awaitAll(context.WithoutCancel(ctx))
	}
	blind()
	err = errors.Join(err, <-watched)
	if err == nil && !l.watcher.reached() {
		err = fmt.Errorf("not all rows are there %v after the last was produced", patience)
	}
	return spans, err
}

// awaitAll waits until the group has written all checkouts of the topic. The watcher goes on
// meanwhile.
func (l *live) awaitAll(ctx context.Context) error {
	ends, err := testbed.Ends(ctx, l.p.admin, l.topics.checkouts)
	if err != nil {
		return err
	}
	var want int64
	for _, end := range ends[l.topics.checkouts] {
		want += end.Offset
	}
	err = l.await(ctx, want,
		`SELECT coalesce(sum(next_offset), 0) FROM firstclick.offsets WHERE group_id = $1 AND topic = $2`)
	testbed.Pause(ctx, 100*time.Millisecond) // for one more look of the watcher
	return err
}

// await waits until a query with group and topic of checkouts returns so many.
func (l *live) await(ctx context.Context, want int64, query string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := l.p.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var done int64
	err = testbed.Poll(ctx, 20*time.Millisecond, func() (bool, error) {
		err := conn.QueryRow(ctx, query, l.topics.group, l.topics.checkouts).Scan(&done)
		return done >= want, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d records are written: %w", done, want, err)
	}
	return nil
}

// check compares every row with the session's first click.
func (l *live) check(ctx context.Context) error {
	got := map[string]string{}
	var checkout, click string
	err := l.p.Rows(ctx, `SELECT checkout_id, coalesce(click_id, '') FROM commerce.attributed_checkouts`, nil,
		[]any{&checkout, &click}, func() error { got[checkout] = click; return nil })
	if err != nil {
		return fmt.Errorf("read the rows: %w", err)
	}
	sent, missing, without, wrong := 0, 0, 0, 0
	for _, k := range slices.Concat(l.load.sent...) {
		sent++
		click, ok := got[checkoutID(k.session)]
		switch {
		case !ok:
			missing++
		case click == "":
			without++
		case click != l.load.answer(k.session):
			wrong++
		}
	}
	if missing+without+wrong > 0 || sent == 0 {
		return fmt.Errorf("of %d checkouts %d have no row, %d a row without a click, %d the wrong click",
			sent, missing, without, wrong)
	}
	return nil
}

// result gathers the checkouts that were due within a span.
func (l *live) result(s span) LiveResult {
	var latencies, acks []int64
	for p := range l.topics.partitions {
		visible := l.watcher.visible(p)
		for i, k := range l.load.sent[p] {
			if k.due < int64(s.from) || k.due >= int64(s.to) || visible[i] < 0 {
				continue
			}
			latencies, acks = append(latencies, visible[i]-k.due), append(acks, k.acked-k.due)
		}
	}
	return LiveResult{
		Scenario: s.name, Rate: l.load.rate, Seconds: (s.to - s.from).Seconds(),
		Latency: quantiles(latencies), Acked: quantiles(acks), Looks: quantiles(slices.Clone(l.watcher.gaps)),
		Behind: float64(l.load.behind.Load()) / 1e6, Cores: l.took,
	}
}

func (l *live) since() time.Duration { return time.Since(l.load.begin) }

// wait until a time since the load began.
func (l *live) wait(ctx context.Context, until time.Duration) error {
	if !testbed.Pause(ctx, until-l.since()) {
		return ctx.Err()
	}
	return nil
}
