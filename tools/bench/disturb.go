package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// burst lays a backlog of records onto partition 0 of one topic within a moment, as a producer that comes back after an outage does. The
// live load keeps clear of that partition. What is measured is the checkouts of the other partitions until the backlog is through.
func burst(warmUp time.Duration, records int64, ofClicks bool) script {
	return func(ctx context.Context, l *live) ([]span, error) {
		if err := l.wait(ctx, warmUp); err != nil {
			return nil, err
		}
		before, from := l.p.usage(l.first), l.since()
		if err := l.lay(ctx, records, ofClicks); err != nil {
			return nil, err
		}
		laid := l.since()
		if err := l.drained(ctx, records, ofClicks); err != nil {
			return nil, err
		}
		to := l.since()
		l.took = l.p.usage(l.first).since(before)
		if err := l.wait(ctx, to+time.Second); err != nil {
			return nil, err
		}
		what := "checkouts"
		if ofClicks {
			what = "clicks"
		}
		return []span{{fmt.Sprintf("%d %s on one partition, laid in %.1f s, drained after %.1f s", records, what, (laid - from).Seconds(), (to - from).Seconds()), from, to}}, nil
	}
}

// lay produces events of the last ten minutes that have nothing to do with the load's.
func (l *live) lay(ctx context.Context, records int64, ofClicks bool) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.p.kafka.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	begin := time.Now().Add(-10 * time.Minute)
	const chunk = 1000
	for from := int64(0); from < records; from += chunk {
		slab := make([]byte, 0, chunk*512)
		for n := from; n < min(from+chunk, records); n++ {
			at, stamp := len(slab), begin.Add(time.Duration(float64(n)/float64(records)*float64(10*time.Minute)))
			topic := l.topics.checkouts
			if ofClicks {
				topic = l.topics.clicks
				slab = appendClick(slab, backlogFrom+n, backlogFrom+n, stamp)
			} else {
				slab = appendCheckout(slab, backlogFrom+n, stamp)
			}
			client.Produce(ctx, &kgo.Record{Topic: topic, Partition: 0, Timestamp: stamp, Value: slab[at:len(slab):len(slab)]}, l.load.answered)
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("lay the backlog: %w", err)
	}
	return nil
}

// backlogFrom keeps the numbers of a backlog's events apart from the load's.
const backlogFrom = 1 << 40

// drained waits until a backlog on partition 0 has had its effect in Postgres.
func (l *live) drained(ctx context.Context, records int64, ofClicks bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	query := `SELECT coalesce(min(next_offset), 0) FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 AND partition = 0`
	if ofClicks {
		query = `SELECT coalesce(min(clicks_next[1]), 0) FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 AND partition > 0`
	}
	conn, err := connect(ctx, l.p.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var done int64
		if err := conn.QueryRow(ctx, query, l.topics.group, l.topics.checkouts).Scan(&done); err != nil {
			return fmt.Errorf("read the offsets: %w", err)
		}
		if done >= records {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of the backlog's %d records are through: %w", done, records, ctx.Err())
		}
	}
}

// How long after each step of a rebalance its checkouts count, and for a killed member how long the group may take to notice.
const (
	afterStep = 8 * time.Second
	afterKill = 20 * time.Second
)

// rebalance lets a second instance join, leave in good order, join again and be killed.
func rebalance(warmUp time.Duration) script {
	return func(ctx context.Context, l *live) (spans []span, err error) {
		if err := l.wait(ctx, warmUp); err != nil {
			return nil, err
		}
		step := func(name string, length time.Duration, do func() error) error {
			from := l.since()
			if err := do(); err != nil {
				return err
			}
			spans = append(spans, span{name, from, from + length})
			return l.wait(ctx, from+length)
		}
		var second *instance
		join := func() (err error) {
			second, err = l.p.launch(l.topics.group+"-second", l.topics.flags()...)
			return err
		}
		defer func() {
			if err != nil && second != nil {
				err = errors.Join(err, second.kill())
			}
		}()
		if err := step("a second instance joins", afterStep, join); err != nil {
			return nil, err
		}
		if err := step("it leaves in good order", afterStep, func() error { return second.stop() }); err != nil {
			return nil, err
		}
		if err := join(); err != nil {
			return nil, err
		}
		if err := l.wait(ctx, l.since()+afterStep); err != nil {
			return nil, err
		}
		if err := step("it is killed (session timeout 10 s)", afterKill, func() error { return second.kill() }); err != nil {
			return nil, err
		}
		return spans, nil
	}
}
