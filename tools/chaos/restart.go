package main

import (
	"context"
	"fmt"
	"time"

	"firstclick/tools/testbed"
)

// What a restart may take (with the window of the trial), and the least pace of reading beside a
// bare consumer's.
const (
	firstRowTime = 15 * second
	leastPace    = 0.5
)

// restart lets an instance write a backlog of one window, starts it again, and measures how long a
// new checkout waits for its row.
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
	w.out.Say("all that stands is written: measuring in a moment")
	testbed.Pause(ctx, 3*second) // for the servers to come to rest
	ends, err := testbed.Ends(ctx, w.admin, clicksTopic)
	if err != nil {
		return err
	}
	began := time.Now()
	n, err := testbed.Read(ctx, w.kafka.Addr, ends, nil)
	before := reading{records: float64(n), took: time.Since(began)}
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
	conn, err := w.db.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	began := time.Now()
	if err := one.start(); err != nil {
		return err
	}
	ownReading := make(chan reading, 1)
	go func() { ownReading <- watchReading(ctx, one.instance(), bare.records) }()
	at := w.epoch().Add(56 * time.Minute)
	for _, topic := range []string{clicksTopic, checkoutsTopic} {
		if err := cl.ProduceSync(ctx, event(topic, 0, at, "new", 1, "new")).FirstErr(); err != nil {
			return fmt.Errorf("send a new checkout: %w", err)
		}
	}
	f.rows++
	waiting, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err = testbed.Poll(waiting, 25*ms, func() (found bool, err error) {
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM commerce.attributed_checkouts
			WHERE checkout_id = 'new' AND click_id = 'new')`).Scan(&found)
		return found, err
	})
	if err != nil {
		return fmt.Errorf("wait for the row of the new checkout: %w\n%s", err, one.said(5))
	}
	took, own := time.Since(began), <-ownReading
	pace := own.pace() / bare.pace()
	w.out.Say("a bare consumer reads %.0f clicks in %v: %.0f/s", bare.records, bare.took.Round(10*ms), bare.pace())
	w.out.Say("restart: %.0f clicks read in %v: %.0f/s, %.2f of the bare consumer's pace; the new row was there %v "+
		"after the start of the process",
		own.records, own.took.Round(10*ms), own.pace(), pace, took.Round(10*ms))
	if took > firstRowTime {
		w.blame("the first new row was there after %v, want %v at most", took.Round(10*ms), firstRowTime)
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

// watchReading reads from an instance's metrics how many clicks it has read, until it has all. It
// gives how long that took from the first one on.
func watchReading(ctx context.Context, i *testbed.Instance, all float64) (r reading) {
	began := time.Time{}
	for last := time.Now(); testbed.Pause(ctx, 100*ms); {
		now := time.Now()
		m, err := i.Metrics(ctx)
		if err != nil {
			continue
		}
		r.records = m[`firstclick_records_read_total{topic="clicks"}`]
		if r.records > 0 && began.IsZero() {
			began = last // none had been read then
		}
		if r.records >= all {
			r.took = now.Sub(began)
			return r
		}
		last = now
	}
	return r
}
