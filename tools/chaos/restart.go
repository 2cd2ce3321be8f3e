package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"firstclick/internal/pgsession"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What a restart may take (with the window of the trial), and the least pace of reading beside a bare consumer's.
const (
	firstRowTime = 15 * second
	leastPace    = 0.5
)

// restart lets an instance write a backlog of one window, starts it again, and measures how long a new checkout waits for its row.
func (w *world) restart(ctx context.Context) error {
	f, err := w.layDown(ctx, 55*time.Minute)
	if err != nil {
		return err
	}
	w.makeSlots()
	one := w.slots[0]
	if err := one.start(); err != nil {
		return err
	}
	if err := w.drain(ctx); err != nil {
		return err
	}
	if err := one.stop(); err != nil {
		return err
	}
	w.out.say("all that stands is written: measuring in a moment")
	pause(ctx, 3*second) // for the servers to come to rest
	before, err := w.bareRead(ctx)
	if err != nil {
		return err
	}
	if err := w.measureRestart(ctx, one, f, before); err != nil {
		return err
	}
	return w.judge(ctx, f)
}

func (w *world) measureRestart(ctx context.Context, one *slot, f *fed, bare reading) error {
	cl, err := w.producer()
	if err != nil {
		return err
	}
	defer cl.Close()
	conn, err := pgsession.Connect(ctx, w.database, application)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	reading := w.watchReading(ctx, one, bare.records)
	began := time.Now()
	if err := one.start(); err != nil {
		return err
	}
	at := w.epoch().Add(56 * time.Minute)
	for _, topic := range []string{clicksTopic, checkoutsTopic} {
		if err := cl.ProduceSync(ctx, event(topic, 0, at, "new", 1, "new")).FirstErr(); err != nil {
			return fmt.Errorf("send a new checkout: %w", err)
		}
	}
	f.rows++
	waiting, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for found := false; !found; {
		if !pause(waiting, 25*ms) {
			return errors.Join(fmt.Errorf("the new checkout has no row\n%s", one.said(5)), waiting.Err())
		}
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM commerce.attributed_checkouts WHERE checkout_id = 'new' AND click_id = 'new')`).Scan(&found); err != nil {
			return err
		}
	}
	took := time.Since(began)
	own := <-reading
	pace := own.pace() / bare.pace()
	w.out.say("a bare consumer reads %.0f clicks in %v: %.0f/s", bare.records, bare.took.Round(10*ms), bare.pace())
	w.out.say("restart: %.0f clicks read in %v: %.0f/s, %.2f of the bare consumer's pace; the new row stood %v after the start of the process", own.records,
		own.took.Round(10*ms), own.pace(), pace, took.Round(10*ms))
	if took > firstRowTime {
		w.blame("the first new row stood after %v, want %v at most", took.Round(10*ms), firstRowTime)
	}
	if pace < leastPace {
		w.blame("clicks are read at %.2f of the pace of a bare consumer, want %.2f at least", pace, leastPace)
	}
	return nil
}

type reading struct {
	records float64
	took    time.Duration
}

func (r reading) pace() float64 { return r.records / r.took.Seconds() }

// watchReading asks the instance how many clicks it has read until it has all, and gives how long that took from the first on.
func (w *world) watchReading(ctx context.Context, s *slot, all float64) <-chan reading {
	out := make(chan reading, 1)
	go func() {
		var r reading
		defer func() { out <- r }()
		var began time.Time
		last := time.Now()
		for pause(ctx, 100*ms) {
			now := time.Now()
			m, err := s.metrics(ctx)
			if err != nil {
				continue
			}
			n := m[`firstclick_records_read_total{topic="clicks"}`]
			if n > 0 && began.IsZero() {
				began = last // none had been read when it was last asked
			}
			if r.records = n; n >= all {
				r.took = now.Sub(began)
				return
			}
			last = now
		}
	}()
	return out
}

// bareRead reads the clicks topic with a client that does nothing else.
func (w *world) bareRead(ctx context.Context) (r reading, err error) {
	ends, err := w.admin.ListEndOffsets(ctx, clicksTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return r, err
	}
	from, left := map[int32]kgo.Offset{}, int64(0)
	for p, end := range ends[clicksTopic] {
		from[p] = kgo.NewOffset().AtStart()
		left += end.Offset
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{clicksTopic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return r, err
	}
	defer cl.Close()
	began := time.Now()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return r, fmt.Errorf("read clicks: %w", err)
		}
		n := fetches.NumRecords()
		left -= int64(n)
		r.records += float64(n)
	}
	r.took = time.Since(began)
	return r, nil
}
