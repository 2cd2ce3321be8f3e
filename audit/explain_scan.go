package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// stampSlack is how much later than its event a record of an orderly producer is stamped, beyond what counts as late.
const stampSlack = time.Minute

// recordsKept bounds how many records with one checkout_id are looked at.
const recordsKept = 1000

// worthShowing is how many offsets take long enough for progress to be of interest.
const worthShowing = 50_000

// describeTopics asks Kafka for both topics. What verify cannot do without is only noted here: the row is there all the same.
func (x *explainer) describeTopics(ctx context.Context) error {
	for _, t := range []struct {
		into   *topicLog
		name   string
		stored [16]byte
		which  int
	}{{&x.clicks, x.snap.clicksTopic, x.snap.clicksID, topicClicks}, {&x.checkouts, x.snap.checkoutsTopic, x.snap.checkoutsID, topicCheckouts}} {
		log, err := x.reader.describe(ctx, t.name)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			x.note("topic %s is not in Kafka", t.name)
		case err != nil:
			return err
		case t.stored != ([16]byte{}) && log.id != ([16]byte{}) && t.stored != log.id:
			x.note("topic %s was deleted and created anew since group %s began: its records are not those the rows were made of", t.name, x.cfg.Group)
		default:
			*t.into = log
			continue
		}
		*t.into = topicLog{name: t.name}
		x.gone[t.which] = true
	}
	for _, p := range x.checkouts.partitions {
		x.gone[topicCheckouts] = x.gone[topicCheckouts] || p.logStart > startOf(x.snap.checkoutsStart, p.partition)
	}
	return nil
}

// span is a part of a partition: from <= offset < to.
type span struct {
	partition int32
	from, to  int64
}

// cut is where the records of a partition begin that were stamped at a certain time or later: those before it were not.
type cut map[int32]int64

// cutAt asks Kafka for it. Partitions without such records are cut at their end.
func (x *explainer) cutAt(ctx context.Context, t topicLog, micros int64) (cut, error) {
	listed, err := x.reader.admin.ListOffsetsAfterMilli(ctx, max(0, micros/1000), t.name)
	if err != nil {
		return nil, fmt.Errorf("ask for offsets of topic %s by time: %w", t.name, err)
	}
	c := cut{}
	for _, p := range t.partitions {
		o, ok := listed.Lookup(t.name, p.partition)
		if !ok || o.Err != nil {
			return nil, fmt.Errorf("ask for offsets of %s-%d by time: %w", t.name, p.partition, o.Err)
		}
		c[p.partition] = o.Offset
	}
	return c, nil
}

// spans lists the parts of the topic between two cuts; nil stands for where the group began, and for the end.
func (x *explainer) spans(t topicLog, starts []int64, from, to cut) []span {
	var list []span
	for _, p := range t.partitions {
		s := span{p.partition, max(p.logStart, startOf(starts, p.partition)), p.end}
		if from != nil {
			s.from = max(s.from, from[p.partition])
		}
		if to != nil {
			s.to = min(s.to, to[p.partition])
		}
		if s.from < s.to {
			list = append(list, s)
		}
	}
	return list
}

// at lists single places of the topic, as far as Kafka holds them.
func (t topicLog) at(places []spot) []span {
	var list []span
	for _, place := range places {
		for _, p := range t.partitions {
			if p.partition == place.partition && place.offset >= p.logStart && place.offset < p.end {
				list = append(list, span{p.partition, place.offset, place.offset + 1})
			}
		}
	}
	return list
}

// scan reads spans, several at a time. Records that keep says no to are passed over; take is called for the others, one at a time.
func (x *explainer) scan(ctx context.Context, t topicLog, which int, spans []span, keep func(*kgo.Record) bool, take func(*kgo.Record)) error {
	var total int64
	for _, s := range spans {
		total += s.to - s.from
	}
	shown := func(int64) {}
	if total >= worthShowing {
		x.progress.phase("offsets of topic "+t.name, total)
		shown = x.progress.add
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for _, s := range spans {
		x.out.Searched = append(x.out.Searched, OffsetRange{t.name, s.partition, s.from, s.to})
		group.Go(func() error {
			last := s.from
			err := x.reader.read(ctx, t, s.partition, s.from, s.to, func(r *kgo.Record) error {
				shown(r.Offset + 1 - last)
				last = r.Offset + 1
				if keep(r) {
					mu.Lock()
					defer mu.Unlock()
					take(r)
				}
				return nil
			}, func(start int64) {
				mu.Lock()
				defer mu.Unlock()
				x.gone[which] = true
				x.note("%s-%d: offsets below %d went away while they were being read", t.name, s.partition, start)
			})
			shown(s.to - last)
			return err
		})
	}
	return group.Wait()
}

// stampOf is a record's timestamp in microseconds, -1 where it has none.
func stampOf(r *kgo.Record) int64 {
	if ms := r.Timestamp.UnixMilli(); ms >= 0 {
		return ms * 1000
	}
	return -1
}

// findCheckouts finds the records with the checkout_id. No record is stamped more than five minutes before its event, so the
// row's time says where to begin; only that it is not found, or not as the row has it, says that all has to be read.
func (x *explainer) findCheckouts(ctx context.Context) error {
	t, starts := x.checkouts, x.snap.checkoutsStart
	if err := x.scanCheckouts(ctx, t.at(x.hints())); err != nil {
		return err
	}
	var parts [][]span
	if x.there && x.row.timed {
		from, err := x.cutAt(ctx, t, x.row.time-x.snap.skew)
		if err != nil {
			return err
		}
		to, err := x.cutAt(ctx, t, x.row.time+x.stampedBy())
		if err != nil {
			return err
		}
		parts = [][]span{x.spans(t, starts, from, to), x.spans(t, starts, to, nil), x.spans(t, starts, nil, from)}
	} else {
		next := cut{}
		for _, p := range t.partitions {
			next[p.partition] = x.snap.shards[p.partition].next
		}
		parts = [][]span{x.spans(t, starts, next, nil), x.spans(t, starts, nil, next)}
	}
	for i, part := range parts {
		if i > 0 && x.found() {
			break
		}
		if err := x.scanCheckouts(ctx, part); err != nil {
			return err
		}
	}
	slices.SortFunc(x.records, func(a, b foundCheckout) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(min(1, max(-1, a.offset-b.offset)))
	})
	return nil
}

// stampedBy is how much later than its event a record is stamped unless something is amiss, in microseconds.
func (x *explainer) stampedBy() int64 {
	return (x.at.lateness + x.at.outOfOrder + stampSlack).Microseconds()
}

// hints are the places that are known without reading Kafka.
func (x *explainer) hints() []spot {
	var places []spot
	for place := range x.dead {
		places = append(places, place)
	}
	for _, l := range x.late {
		if place := (spot{l.which, l.Partition, l.Offset}); l.which == topicCheckouts && !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

// found says whether enough was found: what the row is made of, or without a row anything at all.
func (x *explainer) found() bool {
	for _, k := range x.records {
		if !x.there {
			return true
		}
		if _, dead := x.dead[spot{topicCheckouts, k.partition, k.offset}]; k.reason == "" && !dead {
			if name, _, _ := x.row.differing(x.snap.columns, k.event); name == "" {
				return true
			}
		}
	}
	return false
}

func (x *explainer) scanCheckouts(ctx context.Context, spans []span) error {
	id, column := []byte(x.id), x.snap.columns["checkout_id"]
	keep := func(r *kgo.Record) bool { return mayHold(r.Value, id) }
	return x.scan(ctx, x.checkouts, topicCheckouts, spans, keep, func(r *kgo.Record) {
		k := foundCheckout{checkout: checkout{partition: r.Partition, offset: r.Offset}, stamp: stampOf(r)}
		k.event, k.reason = decodeCheckout(r.Value, x.snap.zone)
		switch {
		case k.reason != "":
			if members, reason := decodeObject(r.Value); reason != "" || !x.isID(members["checkout_id"]) {
				return
			}
			k.id = x.id
		case column.stored(k.id) != x.id:
			return
		case k.stamp >= 0 && k.time > k.stamp+x.snap.skew:
			k.reason = reasonFuture
		}
		if x.pendingCheckout(r.Partition, r.Offset) {
			k.flags |= flagPending
		}
		switch {
		case slices.ContainsFunc(x.records, func(o foundCheckout) bool { return o.partition == k.partition && o.offset == k.offset }):
		case len(x.records) < recordsKept:
			x.short(&k.event)
			x.records = append(x.records, k)
		default:
			x.dropped++
		}
	})
}

func (x *explainer) isID(raw []byte) bool {
	id, isString, _ := decodeString(raw)
	return isString && x.snap.columns["checkout_id"].stored(id) == x.id
}
