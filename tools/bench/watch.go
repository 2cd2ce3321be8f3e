package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// watcher is another session of Postgres that reads, once a millisecond, how far each shard is. A
// shard's offsets row moves in the transaction that writes its rows: the first look that finds
// next_offset past a checkout is the first that can find its row. To read four rows by key costs
// next to nothing. To query the rows themselves, or to stream them by logical replication, would
// load the two cores that are measured. A sample of the rows is queried on the way, and all of them
// at the end.
type watcher struct {
	conn  *pgx.Conn
	group string
	load  *load

	seen []sight
	gaps []int64 // nanoseconds between the ends of two looks: a latency may be too great by that much
}

// sight is how far the shards were at a time, in nanoseconds since the load began.
type sight struct {
	at   int64
	next []int64 // by partition; -1: no row yet
}

// sampleOne of so many looks that found something new.
const sampleOne = 100

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	last := make([]int64, w.load.topics.partitions)
	for i := range last {
		last[i] = -1
	}
	next := make([]int64, len(last))
	before, found := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		moved, err := w.look(ctx, last, next)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		w.gaps = append(w.gaps, int64(now.Sub(before)))
		before = now
		if !moved {
			continue
		}
		w.seen = append(w.seen, sight{at: int64(now.Sub(w.load.begin)), next: append([]int64(nil), next...)})
		last, next = next, last
		if found++; found%sampleOne == 0 {
			if err := w.sample(ctx, last); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func (w *watcher) look(ctx context.Context, last, next []int64) (moved bool, err error) {
	rows, err := w.conn.Query(ctx,
		`SELECT partition, next_offset FROM firstclick.offsets WHERE group_id = $1 AND topic = $2`,
		w.group, w.load.topics.checkouts)
	if err != nil {
		return false, fmt.Errorf("look at the offsets: %w", err)
	}
	copy(next, last)
	var partition int32
	var offset int64
	_, err = pgx.ForEachRow(rows, []any{&partition, &offset}, func() error {
		next[partition] = offset
		moved = moved || offset != last[partition]
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("look at the offsets: %w", err)
	}
	return moved, nil
}

// sample asks for the row of the newest checkout below each shard's offset.
func (w *watcher) sample(ctx context.Context, next []int64) error {
	var ids []string
	for p, offset := range next {
		if session, ok := w.load.newestBelow(int32(p), offset); ok {
			ids = append(ids, checkoutID(session))
		}
	}
	var n int
	err := w.conn.QueryRow(ctx, `SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = ANY($1)`,
		ids).Scan(&n)
	if err != nil {
		return fmt.Errorf("look for rows: %w", err)
	}
	if n != len(ids) {
		return errors.New("the offsets have moved past a checkout whose row is not there")
	}
	return nil
}

// reached says whether every checkout that was sent has been seen; call it when run has returned.
func (w *watcher) reached() bool {
	if len(w.seen) == 0 {
		return false
	}
	last := w.seen[len(w.seen)-1].next
	for p, of := range w.load.sent {
		if len(of) > 0 && last[p] <= of[len(of)-1].offset {
			return false
		}
	}
	return true
}

// visible gives for each checkout of a partition, in the order of sent, when it was first seen.
func (w *watcher) visible(partition int32) []int64 {
	of := w.load.sent[partition]
	times := make([]int64, len(of))
	at := 0
	for i := range of { // offsets rise: one producer, answered in order
		for at < len(w.seen) && w.seen[at].next[partition] <= of[i].offset {
			at++
		}
		times[i] = -1
		if at < len(w.seen) {
			times[i] = w.seen[at].at
		}
	}
	return times
}
