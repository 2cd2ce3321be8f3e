package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/datagen"
	"firstclick/internal/pgsession"
)

// backlogSpan is the event time of a backlog: several times window and lateness, so that clicks expire and rows become final on the way.
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
	w.out.say("a backlog of %d clicks and %d checkouts stands after %v", sum.Clicks, sum.Checkouts, time.Since(began).Round(100*ms))
	return &fed{rows: sum.Rows(), dead: sum.DeadLetters, sum: sum}, nil
}

// kills ends the only instance again and again in one backlog. Half of its lives end at any moment from the start of the process on, the other
// half within a moment in which transactions are sure to be under way.
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
		if life%2 == 0 {
			moment = between(random, 0, 60*ms)
			if err := w.awaitPassed(ctx, one, before.passed); err != nil {
				return err
			}
		}
		if !pause(ctx, moment) {
			return ctx.Err()
		}
		if err := one.kill(); err != nil {
			return err
		}
		after, err := w.written(ctx)
		if err != nil {
			return err
		}
		if after.passed > before.passed {
			working++
		}
		if life%10 == 9 {
			w.out.say("%3d SIGKILLs, %d of them after rows of that life; %d of %d checkouts are passed", life+1, working, after.passed, f.sum.Checkouts)
		}
		if after.passed >= f.sum.Checkouts {
			w.blame("the backlog was written after %d SIGKILLs: it is too small (-events)", life+1)
			break
		}
	}
	w.out.say("%d SIGKILLs in %v, %d in lives that had written rows; the rest in peace", w.opts.lives, time.Since(began).Round(100*ms), working)
	if err := one.start(); err != nil {
		return err
	}
	return w.judge(ctx, f)
}

// progress is what the offsets rows say.
type progress struct{ passed int64 }

func (w *world) written(ctx context.Context) (p progress, err error) {
	err = w.withDatabase(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(sum(next_offset), 0)::bigint FROM firstclick.offsets WHERE group_id = $1`, group).
			Scan(&p.passed)
	})
	if err != nil {
		return p, fmt.Errorf("read what is written: %w", err)
	}
	return p, nil
}

// awaitPassed waits until an instance at work has written checkouts: a takeover is a commit too, and a life that ends with it shows little.
func (w *world) awaitPassed(ctx context.Context, s *slot, passed int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgsession.Connect(ctx, w.database, application)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for pause(ctx, 5*ms) {
		var n int64
		if err := conn.QueryRow(ctx, `SELECT coalesce(sum(next_offset), 0)::bigint FROM firstclick.offsets WHERE group_id = $1`, group).Scan(&n); err != nil {
			return err
		}
		if n > passed {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s has written nothing\n%s", s.log, s.said(4)), ctx.Err())
}
