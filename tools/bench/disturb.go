package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/tools/testbed"
)

// steady is a load without a disturbance.
func steady(warmUp, length time.Duration) script {
	return func(ctx context.Context, l *live) ([]span, error) {
		if err := l.wait(ctx, warmUp); err != nil {
			return nil, err
		}
		took := l.usage()
		err := l.wait(ctx, warmUp+length)
		l.took = took()
		return []span{{"steady", warmUp, warmUp + length}}, err
	}
}

// burst lays a backlog of records onto partition 0 of one topic within a moment, as a producer that
// comes back after an outage does. The live load leaves that partition alone. The checkouts of the
// other partitions count until the backlog is written.
func burst(warmUp time.Duration, records int64, ofClicks bool) script {
	what, written := "checkouts",
		`SELECT coalesce(min(next_offset), 0) FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 AND `+
			`partition = 0`
	if ofClicks {
		what, written = "clicks",
			`SELECT coalesce(min(clicks_next[1]), 0) FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 AND `+
				`partition > 0`
	}
	return func(ctx context.Context, l *live) ([]span, error) {
		if err := l.wait(ctx, warmUp); err != nil {
			return nil, err
		}
		took, from := l.usage(), l.since()
		if err := l.lay(ctx, records, ofClicks); err != nil {
			return nil, fmt.Errorf("lay the backlog: %w", err)
		}
		laid := l.since()
		if err := l.await(ctx, records, written); err != nil {
			return nil, err
		}
		to := l.since()
		l.took = took()
		name := fmt.Sprintf("%d %s on one partition, laid in %.1f s, drained after %.1f s",
			records, what, (laid - from).Seconds(), (to - from).Seconds())
		return []span{{name, from, to}}, l.wait(ctx, to+time.Second)
	}
}

// backlogFrom keeps the numbers of a backlog's events apart from the load's.
const backlogFrom = 1 << 40

// lay produces events of the last ten minutes that have nothing to do with those of the load.
func (l *live) lay(ctx context.Context, records int64, ofClicks bool) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(l.p.kafka.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	const span, chunk = 10 * time.Minute, 1000
	begin := time.Now().Add(-span)
	for from := int64(0); from < records; from += chunk {
		slab := make([]byte, 0, chunk*512)
		for n := from; n < min(from+chunk, records); n++ {
			at, stamp := len(slab), begin.Add(time.Duration(float64(n)/float64(records)*float64(span)))
			topic := l.topics.checkouts
			if ofClicks {
				topic = l.topics.clicks
				slab = appendClick(slab, backlogFrom+n, backlogFrom+n, stamp)
			} else {
				slab = appendCheckout(slab, backlogFrom+n, stamp)
			}
			client.Produce(ctx, &kgo.Record{Topic: topic, Timestamp: stamp, Value: slab[at:len(slab):len(slab)]},
				l.load.answered)
		}
	}
	return client.Flush(ctx)
}

// How long after each step of a rebalance its checkouts count. After a kill the group takes 10 s to
// notice.
const (
	afterStep = 8 * time.Second
	afterKill = 20 * time.Second
)

// rebalance lets a second instance join, leave in good order, join again and be killed.
func rebalance(warmUp time.Duration) script {
	return func(ctx context.Context, l *live) (spans []span, err error) {
		var second *testbed.Instance
		defer func() {
			if err != nil && second != nil {
				err = errors.Join(err, second.Kill())
			}
		}()
		join := func() (err error) {
			second, err = l.p.launch(l.topics.group+"-second", l.topics)
			return err
		}
		if err := l.wait(ctx, warmUp); err != nil {
			return nil, err
		}
		for _, step := range []struct {
			name   string // "": does not count
			length time.Duration
			do     func() error
		}{
			{"a second instance joins", afterStep, join},
			{"it leaves in good order", afterStep, func() error { return second.Stop(stopTime) }},
			{"", afterStep, join},
			{"it is killed (session timeout 10 s)", afterKill, func() error { return second.Kill() }},
		} {
			from := l.since()
			if err := step.do(); err != nil {
				return nil, err
			}
			if step.name != "" {
				spans = append(spans, span{step.name, from, from + step.length})
			}
			if err := l.wait(ctx, from+step.length); err != nil {
				return nil, err
			}
		}
		return spans, nil
	}
}
