package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/tools/testbed"
)

// What a takeover may take, from the signal to the first commit by the new owner.
const (
	sessionTimeout = 10 * second // of the group's members
	heartbeat      = 1 * second
	afterKill      = sessionTimeout + second
	afterStop      = heartbeat + second
)

// landing is a commit of a shard, as seen from outside within some milliseconds.
type landing struct {
	at       time.Time
	instance string
}

// shardsWatch looks at the offsets rows all the time.
type shardsWatch struct {
	landings map[int32][]landing
	commits  map[int32]int64
	owner    map[int32]string
}

// look reads once.
func (s *shardsWatch) look(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx,
		`SELECT partition, commits, CASE WHEN owner IS NULL THEN '' ELSE coalesce(instance, '') END FROM `+
			`firstclick.offsets WHERE group_id = $1`, group)
	if err != nil {
		return err
	}
	now := time.Now()
	var p int32
	var commits int64
	var instance string
	_, err = pgx.ForEachRow(rows, []any{&p, &commits, &instance}, func() error {
		if commits != s.commits[p] {
			s.landings[p] = append(s.landings[p], landing{now, instance})
		}
		s.commits[p], s.owner[p] = commits, instance
		return nil
	})
	return err
}

// until looks on until done.
func (s *shardsWatch) until(ctx context.Context, conn *pgx.Conn, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := testbed.Poll(ctx, 4*ms, func() (bool, error) { return done(), s.look(ctx, conn) })
	if err != nil {
		return fmt.Errorf("%s: %w; owners %v", what, err, s.owner)
	}
	return nil
}

func (s *shardsWatch) during(ctx context.Context, conn *pgx.Conn, d time.Duration) error {
	end := time.Now().Add(d)
	return s.until(ctx, conn, "a moment", func() bool { return time.Now().After(end) })
}

func (s *shardsWatch) owned(instance string) (shards []int32) {
	for p, i := range s.owner {
		if i == instance {
			shards = append(shards, p)
		}
	}
	slices.Sort(shards)
	return shards
}

// gap is the longest time without a commit of one of the shards between two moments.
func (s *shardsWatch) gap(shards []int32, from, to time.Time) (longest time.Duration) {
	for _, p := range shards {
		last := from
		for _, l := range s.landings[p] {
			if l.at.Before(from) || l.at.After(to) {
				continue
			}
			longest, last = max(longest, l.at.Sub(last)), l.at
		}
		longest = max(longest, to.Sub(last))
	}
	return longest
}

// firstBy is when the first of the shards' commits by an instance came that came last.
func (s *shardsWatch) firstBy(shards []int32, instance string, from time.Time) (last time.Time, all bool) {
	for _, p := range shards {
		i := slices.IndexFunc(s.landings[p], func(l landing) bool { return l.instance == instance && l.at.After(from) })
		if i < 0 {
			return last, false
		}
		if at := s.landings[p][i].at; at.After(last) {
			last = at
		}
	}
	return last, true
}

// takeovers measures how long shards stand still whose instance ends, and whether the other ones
// notice.
func (w *world) takeovers(ctx context.Context) error {
	w.makeSlots()
	stays, goes := w.slots[0], w.slots[1]
	stays.static, goes.static = false, false
	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	var f *fed
	fedUp := make(chan error, 1)
	go func() {
		var err error
		f, err = w.feed(feeding)
		fedUp <- err
	}()
	err := errors.Join(stays.start(), w.db.With(ctx, func(conn *pgx.Conn) error {
		s := &shardsWatch{landings: map[int32][]landing{}, commits: map[int32]int64{}, owner: map[int32]string{}}
		allOwned := func() bool { return len(s.owned(stays.name())) == checkoutsPartitions }
		err := s.until(ctx, conn, "the first instance takes every shard", allOwned)
		for life := 0; err == nil && life < 2*w.opts.lives; life++ {
			how, limit := syscall.SIGKILL, afterKill
			if life >= w.opts.lives {
				how, limit = syscall.SIGTERM, afterStop
			}
			err = w.measureTakeover(ctx, conn, s, stays, goes, how, limit)
		}
		return err
	}))
	stopFeeding()
	if err := errors.Join(err, <-fedUp); err != nil {
		return err
	}
	return w.judge(ctx, f)
}

// measureTakeover lets an instance join, and ends it.
func (w *world) measureTakeover(ctx context.Context, conn *pgx.Conn, s *shardsWatch, stays, goes *slot,
	how syscall.Signal, limit time.Duration) error {
	began := time.Now()
	if err := goes.start(); err != nil {
		return err
	}
	shared := func() bool {
		moved := s.owned(goes.name())
		_, all := s.firstBy(moved, goes.name(), began)
		return len(moved) == checkoutsPartitions/2 && all
	}
	if err := s.until(ctx, conn, "the second instance takes half of the shards", shared); err != nil {
		return err
	}
	joined := time.Now()
	moved, left := s.owned(goes.name()), s.owned(stays.name())
	if err := s.during(ctx, conn, 3*second); err != nil {
		return err
	}
	w.out.Say("joined in %v: the longest pause of the shards that moved was %v, of the others %v; undisturbed %v",
		joined.Sub(began).Round(ms),
		s.gap(moved, began, joined).Round(ms), s.gap(left, began, joined).Round(ms), s.gap(left, joined,
			time.Now()).Round(ms))

	p := goes.hold()
	ended := time.Now()
	if err := p.Signal(how); err != nil {
		return err
	}
	var taken time.Time
	if err := s.until(ctx, conn, "the first instance takes the shards over",
		func() (all bool) { taken, all = s.firstBy(moved, stays.name(), ended); return all }); err != nil {
		return err
	}
	if err := s.during(ctx, conn, second); err != nil {
		return err
	}
	took := taken.Sub(ended)
	w.out.Say("%v: first commit of the last shard taken over after %v (limit %v); longest pause of the other shards "+
		"%v", how, took.Round(ms), limit,
		s.gap(left, ended, time.Now()).Round(ms))
	if took > limit {
		w.blame("taken over %v after %v, want %v at most", took.Round(ms), how, limit)
	}
	if others := s.gap(left, ended, time.Now()); others > 2*second {
		w.blame("the other shards stood still for %v when an instance ended by %v", others.Round(ms), how)
	}
	ending, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.Wait(ending)
	goes.clear()
	return err
}
