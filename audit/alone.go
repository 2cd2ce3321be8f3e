package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Compare and WhatIf recompute the answer from Kafka alone: of firstclick's own tables they read no more than what the group was begun
// with. So they judge a table that somebody else wrote, and by a rule that nobody ran with.

// alone is what they need beyond an audit.
type alone struct {
	on           bool
	pendingAfter int64            // microseconds: records stamped later need not have had their effect
	invalid      map[string]int64 // records that are no events, by reason
}

// newAlone makes an audit that asks Kafka alone.
func newAlone(cfg Config) (*audit, error) {
	a, err := newAudit(cfg)
	if err != nil {
		return nil, err
	}
	a.alone = alone{on: true, pendingAfter: math.MaxInt64, invalid: map[string]int64{}}
	a.snap.marks = a.sorter("marks")
	return a, nil
}

// takeMeaning takes what was not given from what the group was begun with, if it was, else the defaults.
func (a *audit) takeMeaning(ctx context.Context, tx pgx.Tx) error {
	s, cfg := &a.snap, a.cfg
	var window, skew pgtype.Interval
	var zone string
	known := false
	err := tx.QueryRow(ctx, `SELECT to_regclass('firstclick.progress') IS NOT NULL`).Scan(&known)
	if err == nil && known {
		err = tx.QueryRow(ctx, `SELECT clicks_topic, checkouts_topic, window_length, `+skewColumn+`, time_zone FROM firstclick.progress p WHERE group_id = $1`, cfg.Group).
			Scan(&s.clicksTopic, &s.checkoutsTopic, &window, &skew, &zone)
		if errors.Is(err, pgx.ErrNoRows) {
			known, err = false, nil
		}
	}
	if err != nil {
		return fmt.Errorf("read progress of group %s: %w", cfg.Group, err)
	}
	s.window, s.zone, s.skew = time.Hour, time.UTC, defaultSkew.Microseconds()
	if known {
		s.skew = duration(skew).Microseconds()
		s.window = duration(window)
		if s.zone, err = time.LoadLocation(zone); err != nil {
			return fmt.Errorf("load time zone of group %s: %w", cfg.Group, err)
		}
	}
	s.clicksTopic = cmp.Or(cfg.ClicksTopic, s.clicksTopic, "clicks")
	s.checkoutsTopic = cmp.Or(cfg.CheckoutsTopic, s.checkoutsTopic, "checkouts")
	s.window, s.zone = cmp.Or(cfg.Window, s.window), cmp.Or(cfg.Zone, s.zone)
	return nil
}

// readAlone reads both topics from their beginnings, checkouts into the sort by id and clicks into that by key. merge is what
// happens in between: it may drop the checkouts.
func (a *audit) readAlone(ctx context.Context, merge func(context.Context) error) error {
	opts, err := a.cfg.Kafka.Opts()
	if err != nil {
		return fmt.Errorf("configure kafka client: %w", err)
	}
	if a.reader, err = newLogReader(opts); err != nil {
		return err
	}
	defer a.reader.Close()
	if err := errors.Join(a.snap.marks.Finish(), a.describe(ctx)); err != nil {
		return err
	}
	idColumn := a.snap.columns["checkout_id"]
	err = a.readTopic(ctx, a.checkouts, topicCheckouts, nil, a.checkoutSort, func(buf []byte, r *record) []byte {
		k := sale{id: idColumn.stored(r.id), partition: r.partition, offset: r.offset, flags: r.flags, user: r.user, product: r.product, time: r.time, amount: r.amount}
		return k.append(buf)
	})
	if err != nil {
		return err
	}
	if err := merge(ctx); err != nil {
		return err
	}
	if err := errors.Join(a.checkoutSort.Drop(), a.askSort.Finish()); err != nil {
		return err
	}
	return a.readClicks(ctx)
}

// sale is a checkout as far as it is needed here, in its sort: by id, then by place.
type sale struct {
	id        string
	partition int32
	offset    int64
	flags     int32
	user      int32
	product   string
	time      int64
	amount    optional
}

func (k sale) append(b []byte) []byte {
	b = appendInt32(appendInt64(appendInt32(appendText(b, k.id), k.partition), k.offset), k.flags)
	return appendOptional(appendInt64(appendText(appendInt32(b, k.user), k.product), k.time), k.amount)
}

func parseSale(item []byte) (k sale) {
	f := fields(item)
	k.id, k.partition, k.offset, k.flags = f.text(), f.int32(), f.int64(), f.int32()
	k.user, k.product, k.time, k.amount = f.int32(), f.text(), f.int64(), f.optional()
	return k
}

// sameKey says whether both ask for the same click.
func (k sale) sameKey(o sale) bool {
	return k.user == o.user && k.product == o.product && k.time == o.time
}

// question is a checkout that waits for its clicks, with the row that it has in the table; sorted by user, product and time.
type question struct {
	sale
	row attributed
}

func (q question) append(b []byte) []byte {
	b = appendText(appendInt64(appendText(appendInt32(b, q.user), q.product), q.time), q.id)
	b = appendOptional(appendInt32(appendInt64(appendInt32(b, q.partition), q.offset), q.flags), q.amount)
	return q.row.append(b)
}

func parseQuestion(item []byte) (q question) {
	f := fields(item)
	q.user, q.product, q.time, q.id = f.int32(), f.text(), f.int64(), f.text()
	q.partition, q.offset, q.flags, q.amount = f.int32(), f.int64(), f.int32(), f.optional()
	q.row = parseAttributed(f)
	return q
}

// key is the question as attribute.go orders clicks against it.
func (q question) key() ask { return ask{user: q.user, product: q.product, time: q.time} }

// group is all that there is of one checkout_id.
type group struct {
	id      string
	rows    []attributed
	firsts  []sale // the first checkout of each partition, of several equal ones one
	records int64
}

// groups merges the table's rows with the checkouts, both by checkout_id.
func (a *audit) groups(ctx context.Context, each func(g *group) error) error {
	a.progress.phase("rows compared", a.snap.rowCount)
	rows, err := newStream(a.snap.rows, func(item []byte) attributed { return parseAttributed(fields(item)) })
	if err != nil {
		return err
	}
	defer rows.Close()
	sales, err := newStream(a.checkoutSort, parseSale)
	if err != nil {
		return err
	}
	defer sales.Close()
	for rows.ok || sales.ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		g := group{id: sales.head.id}
		if rows.ok && (!sales.ok || rows.head.id < g.id) {
			g.id = rows.head.id
		}
		for rows.ok && rows.head.id == g.id {
			g.rows = append(g.rows, rows.head)
			a.progress.add(1)
			if err := rows.next(); err != nil {
				return err
			}
		}
		partition := int32(-1)
		for sales.ok && sales.head.id == g.id {
			g.add(sales.head, &partition)
			if err := sales.next(); err != nil {
				return err
			}
		}
		if err := each(&g); err != nil {
			return err
		}
	}
	return nil
}

// add takes a checkout of the group. Which of several partitions' records comes first is for the pipeline to decide; within a
// partition it is the one with the lowest offset.
func (g *group) add(k sale, partition *int32) {
	g.records++
	if k.partition == *partition {
		return
	}
	*partition = k.partition
	for _, other := range g.firsts {
		if other.sameKey(k) {
			return
		}
	}
	g.firsts = append(g.firsts, k)
}

// refuse counts a record that is no event; its reason is "" where it is one.
func (l *alone) refuse(reason string, mu *sync.Mutex) {
	if reason == "" {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	l.invalid[reason]++
}
