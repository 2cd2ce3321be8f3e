package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/tools/testbed"
)

// most is how large the process may be at a small --memory-limit, where what does not depend on it
// (the binary, batches, the collector's room) weighs. A container of the default, whose half is the
// limit, ends it only at twice the limit.
func most(limit int64) float64 { return 1.5 * float64(limit) }

// peaks are the greatest values of an instance's metrics.
type peaks map[string]float64

// beside runs fn while an instance is watched.
func (w *world) beside(ctx context.Context, s *slot, fn func(ctx context.Context) error) (peaks, error) {
	m := peaks{}
	watching, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for testbed.Pause(watching, 250*ms) {
			seen, _ := s.instance().Metrics(watching) // an error: it is not up yet
			for name, value := range seen {
				m[name] = max(m[name], value)
			}
		}
		return nil
	})
	g.Go(func() error { defer stop(); return fn(ctx) })
	return m, g.Wait()
}

const pausedClicks = `firstclick_paused{topic="clicks"}`

func (w *world) judgeMemory(m peaks) {
	const mib = 1 << 20
	resident := m["process_resident_memory_bytes"]
	w.out.Say("at most %.0f MiB resident (--memory-limit %s), %.0f of heap, %.0f of window, %.0f clicks held, %.0f "+
		"checkouts behind; clicks paused for the budget: %v", resident/mib, w.opts.memory,
		m["go_memstats_heap_inuse_bytes"]/mib, m["firstclick_window_bytes"]/mib, m["firstclick_window_clicks"],
		m[`firstclick_lag_records{topic="checkouts"}`], m[pausedClicks] > 0)
	if resident == 0 || resident > most(w.opts.limit) {
		w.blame("%.0f MiB resident at --memory-limit %s", resident/mib, w.opts.memory)
	}
	if w.slots[0].instance().Ended(0) {
		w.blame("the instance has ended\n%s", w.slots[0].said(5))
	}
}

// narrow lets an instance write a backlog to a Postgres that is far away: 50 ms, 1 MB/s. Lag grows,
// memory does not.
func (w *world) narrow(ctx context.Context) error {
	f, err := w.layDown(ctx, backlogSpan)
	if err != nil {
		return err
	}
	if err := w.toServer.poison("latency", 1, map[string]int{"latency": 25}); err != nil { // each way
		return err
	}
	if err := w.toServer.poison("bandwidth", 1, map[string]int{"rate": 1000}); err != nil { // KB/s
		return err
	}
	w.makeSlots()
	if err := w.slots[0].start(); err != nil {
		return err
	}
	m, err := w.beside(ctx, w.slots[0], func(ctx context.Context) error {
		testbed.Pause(ctx,
			w.opts.duration)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	w.judgeMemory(m)
	now, err := w.written(ctx)
	if err != nil {
		return err
	}
	if now == 0 || now >= f.sum.Checkouts {
		w.blame("%d of %d checkouts were written in %v: Postgres was not slow", now, f.sum.Checkouts, w.opts.duration)
	}
	w.out.Say("%d of %d checkouts are written after %v; the network has no fault from now on", now, f.sum.Checkouts,
		w.opts.duration)
	if err := w.toServer.mend(); err != nil {
		return err
	}
	return w.judge(ctx, f)
}

// ahead lets an instance write a backlog in which one clicks partition is three hours ahead of the
// others, and larger than the budget.
func (w *world) ahead(ctx context.Context) error {
	cl, err := w.producer()
	if err != nil {
		return err
	}
	defer cl.Close()
	pairs := int(w.opts.events / 4) // so many that the partition that is ahead meets the budget before they are written
	f := &fed{}
	if err := w.sendSpread(ctx, cl, pairs, 0, time.Hour, "early", f); err != nil {
		return err
	}
	clicks := int(w.opts.events)
	if err := produceAll(ctx, cl, clicks, func(n int) *kgo.Record {
		at := w.epoch().Add(3*time.Hour + 50*time.Minute*time.Duration(n)/time.Duration(clicks))
		return event(clicksTopic, 0, at, fmt.Sprintf("00000000-0000-4000-8000-%012x", n), n%users,
			fmt.Sprintf("00000000-0000-4000-9000-%012x", n/7))
	}); err != nil {
		return err
	}
	w.out.Say("%d pairs stand in five partitions, %d clicks of three hours later in the sixth", pairs, clicks)
	w.makeSlots()
	one := w.slots[0]
	if err := one.start(); err != nil {
		return err
	}
	m, err := w.beside(ctx, one, func(ctx context.Context) error {
		if err := w.awaitWritten(ctx, one, f.rows, w.opts.drain, 200*ms); err != nil {
			w.blame("%v", err)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	w.judgeMemory(m)
	if m[pausedClicks] == 0 {
		w.blame("the partition that is ahead was not paused")
	}
	// Checkouts that need the partition: now it is read, to its end.
	if err := w.sendSpread(ctx, cl, 100, 4*time.Hour, time.Minute, "new", f); err != nil {
		return err
	}
	if m, err = w.beside(ctx, one, w.drain); err != nil {
		return err
	}
	w.judgeMemory(m)
	return w.judge(ctx, f)
}

// sendSpread sends pairs of a click and its checkout, the clicks to all partitions but the first.
func (w *world) sendSpread(ctx context.Context, cl *kgo.Client, pairs int, from, span time.Duration, name string,
	f *fed) error {
	for _, topic := range []string{clicksTopic, checkoutsTopic} {
		err := produceAll(ctx, cl, pairs, func(n int) *kgo.Record {
			partition := int32(1 + n%(clicksPartitions-1))
			if topic == checkoutsTopic {
				partition = int32(n % checkoutsPartitions)
			}
			id := fmt.Sprintf("%s-%d", name, n)
			return event(topic, partition, w.epoch().Add(from+span*time.Duration(n)/time.Duration(pairs)),
				topic+"-"+id, n%users, id)
		})
		if err != nil {
			return err
		}
	}
	f.rows += int64(pairs)
	return nil
}

// produceAll sends n records, some thousand at a time.
func produceAll(ctx context.Context, cl *kgo.Client, n int, record func(n int) *kgo.Record) error {
	const together = 20_000
	for from := 0; from < n; from += together {
		records := make([]*kgo.Record, 0, together)
		for i := from; i < min(from+together, n); i++ {
			records = append(records, record(i))
		}
		if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return fmt.Errorf("send records: %w", err)
		}
	}
	return nil
}
