package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/datagen"
	"firstclick/tools/testbed"
)

// backlogSpan is the event time of a backlog: several times window and lateness, so that clicks
// expire and rows become final on the way.
const backlogSpan = 2 * time.Hour

// layDown sends a backlog with every kind of bad input, or, where the trial is plain, with none.
func (w *world) layDown(ctx context.Context, span time.Duration) (*fed, error) {
	cfg := w.generator()
	cfg.Rate, cfg.Speed, cfg.Renames, cfg.Unordered = 0, 0, 0, true
	cfg.Count, cfg.EventRate = w.opts.events, float64(w.opts.events)/span.Seconds()
	cfg.TooLarge = min(cfg.TooLarge, 100/float64(w.opts.events))
	if w.opts.plain {
		cfg.Poison, cfg.TooLarge, cfg.Duplicate, cfg.Conflict, cfg.Late, cfg.Future = 0, 0, 0, 0, 0, 0
	}
	began := time.Now()
	sum, err := datagen.Run(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("lay down a backlog: %w", err)
	}
	w.out.Say("a backlog of %d clicks and %d checkouts stands after %v", sum.Clicks, sum.Checkouts,
		time.Since(began).Round(100*ms))
	return &fed{rows: sum.Rows(), dead: sum.DeadLetters, sum: sum}, nil
}

// kills ends the only instance again and again in one backlog. Half of its lives end at any moment
// from the start of the process on. The other half end while transactions are sure to be under way.
func (w *world) kills(ctx context.Context) error {
	f, err := w.layDown(ctx, backlogSpan)
	if err != nil {
		return err
	}
	w.makeSlots()
	one := w.slots[0]
	one.static = true // a restart gets its partitions back at once
	random := rand.New(rand.NewPCG(w.opts.seed, 30))
	began, working := time.Now(), 0
	for life := range w.opts.lives {
		before, err := w.written(ctx)
		if err != nil {
			return err
		}
		if err := one.start(); err != nil {
			return err
		}
		moment := between(random, 0, 800*ms)
		if life%2 == 0 { // a takeover is a commit too: a life that ends with it shows little
			moment = between(random, 0, 60*ms)
			if err := w.awaitWritten(ctx, one, before+1, patience, 5*ms); err != nil {
				return err
			}
		}
		if !testbed.Pause(ctx, moment) {
			return ctx.Err()
		}
		if err := one.kill(); err != nil {
			return err
		}
		after, err := w.written(ctx)
		if err != nil {
			return err
		}
		if after > before {
			working++
		}
		if life%10 == 9 {
			w.out.Say("%3d SIGKILLs, %d of them after rows of that life; %d of %d checkouts are written", life+1,
				working, after, f.sum.Checkouts)
		}
		if after >= f.sum.Checkouts {
			w.blame("the backlog was written after %d SIGKILLs: it is too small (-events)", life+1)
			break
		}
	}
	w.out.Say("%d SIGKILLs in %v, %d in lives that had written rows; the rest without a fault", w.opts.lives,
		time.Since(began).Round(100*ms), working)
	if err := one.start(); err != nil {
		return err
	}
	return w.judge(ctx, f)
}

const writtenSQL = `SELECT coalesce(sum(next_offset), 0)::bigint FROM firstclick.offsets WHERE group_id = $1`

// written is how many checkouts the offsets rows are past.
func (w *world) written(ctx context.Context) (n int64, err error) {
	if err := w.db.Row(ctx, writtenSQL, []any{group}, &n); err != nil {
		return 0, fmt.Errorf("read what is written: %w", err)
	}
	return n, nil
}

// awaitWritten waits until so many checkouts are written.
func (w *world) awaitWritten(ctx context.Context, s *slot, want int64, within, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return w.db.With(ctx, func(conn *pgx.Conn) error {
		err := testbed.Poll(ctx, every, func() (bool, error) {
			var n int64
			err := conn.QueryRow(ctx, writtenSQL, group).Scan(&n)
			return n >= want, err
		})
		if err != nil {
			return fmt.Errorf("%s has not written %d checkouts within %v: %w\n%s", s.log, want, within, err, s.said(4))
		}
		return nil
	})
}
