package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// LiveResult is what one load, or one part of it, found. Latency is from when the checkout was due to when another session of Postgres saw
// its row; Acked is from then to Kafka's answer to the producer, the part that is not ours.
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

// live is one scenario at work.
type live struct {
	p       *place
	topics  topics
	load    *load
	watcher *watcher
	first   *instance
	took    Load
}

// span is a part of a scenario, in time since the load began.
type span struct {
	name     string
	from, to time.Duration
}

// script does to a live load what the scenario is about, and says which spans count. It returns when the load may end.
type script func(ctx context.Context, l *live) ([]span, error)

// patience is how long a scenario may take to be through with what was produced.
const patience = time.Minute

// runLive runs one scenario: topics of its own, an instance that is ready, a load, and at the end the answer.
func (p *place) runLive(ctx context.Context, name string, rate float64, partitions int, aside int32, do script) (results []LiveResult, err error) {
	t := topics{clicks: name + "-clicks", checkouts: name + "-checkouts", group: name, partitions: int32(partitions)}
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
	if l.watcher, err = newWatcher(ctx, p.database, t.group, l.load); err != nil {
		return nil, err
	}
	defer l.watcher.conn.Close(ctx)
	if l.first, err = p.launch(name, t.flags()...); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.first.stop()) }()
	if _, err := l.first.ready(ctx); err != nil {
		return nil, err
	}
	spans, err := l.run(ctx, do)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(l.first.log))
	}
	if err := l.check(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, tail(l.first.log))
	}
	for _, s := range spans {
		results = append(results, l.result(s))
	}
	return results, nil
}

func (t topics) flags() []string {
	return []string{"--clicks-topic", t.clicks, "--checkouts-topic", t.checkouts, "--group", t.group}
}

func (p *place) createTopics(ctx context.Context, t topics) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka.Addr))
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopics(ctx, t.partitions, 1, nil, t.clicks, t.checkouts)
	if err := errors.Join(err, created.Error()); err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	return nil
}

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
		err = l.settle(ctx)
	}
	blind()
	err = errors.Join(err, <-watched)
	if err == nil && !l.watcher.reached() {
		err = fmt.Errorf("not all rows are there %v after the last was produced", patience)
	}
	return spans, err
}

// settle waits until the group has written all checkouts that the topic holds. The watcher goes on meanwhile.
func (l *live) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	conn, err := connect(ctx, l.p.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	ends, err := l.p.endsOf(ctx, l.topics.checkouts)
	if err != nil {
		return err
	}
	var want int64
	for _, e := range ends[l.topics.checkouts] {
		want += e.offset
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		var done int64
		err := conn.QueryRow(ctx, `SELECT coalesce(sum(next_offset), 0) FROM firstclick.offsets WHERE group_id = $1 AND topic = $2`,
			l.topics.group, l.topics.checkouts).Scan(&done)
		if err != nil {
			return fmt.Errorf("read the offsets: %w", err)
		}
		if done >= want {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d checkouts are written: %w", done, want, ctx.Err())
		}
	}
	<-ticker.C // one more look of the watcher
	<-ticker.C
	return nil
}

// check compares every row with the session's first click.
func (l *live) check(ctx context.Context) error {
	conn, err := connect(ctx, l.p.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT checkout_id, coalesce(click_id, '') FROM commerce.attributed_checkouts`)
	if err != nil {
		return fmt.Errorf("read the rows: %w", err)
	}
	got := map[string]string{}
	var checkout, click string
	if _, err = pgx.ForEachRow(rows, []any{&checkout, &click}, func() error { got[checkout] = click; return nil }); err != nil {
		return fmt.Errorf("read the rows: %w", err)
	}
	sent, missing, without, wrong := 0, 0, 0, 0
	for _, of := range l.load.sent {
		for i := range of {
			sent++
			click, ok := got[checkoutID(of[i].session)]
			switch {
			case !ok:
				missing++
			case click == "":
				without++
			case click != l.load.answer(of[i].session):
				wrong++
			}
		}
	}
	if missing+without+wrong > 0 || sent == 0 {
		return fmt.Errorf("of %d checkouts %d have no row, %d a row without a click, %d the wrong click", sent, missing, without, wrong)
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
		Scenario: s.name, Rate: l.load.rate, Seconds: (s.to - s.from).Seconds(), Latency: quantiles(latencies), Acked: quantiles(acks),
		Looks: quantiles(append([]int64(nil), l.watcher.gaps...)), Behind: float64(l.load.behind.Load()) / 1e6, Cores: l.took,
	}
}

func (l *live) since() time.Duration { return time.Since(l.load.begin) }

// wait until a time since the load began.
func (l *live) wait(ctx context.Context, until time.Duration) error {
	timer := time.NewTimer(until - l.since())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// steady is the plain load.
func steady(warmUp, length time.Duration) script {
	return func(ctx context.Context, l *live) ([]span, error) {
		if err := l.wait(ctx, warmUp); err != nil {
			return nil, err
		}
		before := l.p.usage(l.first)
		if err := l.wait(ctx, warmUp+length); err != nil {
			return nil, err
		}
		l.took = l.p.usage(l.first).since(before)
		return []span{{"steady", warmUp, warmUp + length}}, nil
	}
}

// endsOf asks where topics end.
func (p *place) endsOf(ctx context.Context, names ...string) (map[string][]end, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.kafka.Addr))
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, names...)
	if err := errors.Join(err, listed.Error()); err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	ends := map[string][]end{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Topic] = append(ends[o.Topic], end{o.Partition, o.Offset}) })
	return ends, nil
}

func liveName(scenario string, rate float64, round int) string {
	return scenario + "-" + strconv.FormatFloat(rate, 'f', -1, 64) + "-" + strconv.Itoa(round)
}
