package audit

import (
	"bytes"
	"cmp"
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

const (
	stampSlack   = time.Minute // how much later than its event, beyond what counts as late, an orderly producer's record is stamped
	recordsKept  = 1000        // records with one checkout_id that are looked at
	worthShowing = 50_000      // offsets that take long enough for progress to be of interest
)

// describeTopics reads both topics' ends. What Verify cannot do without is only noted here: the row is
// there all the same.
func (x *explainer) describeTopics(ctx context.Context) error {
	for which, stored := range x.snap.topics {
		log, err := x.reader.describe(ctx, stored.name)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			x.note("topic %s is not in Kafka", stored.name)
		case err != nil:
			return err
		case stored.id != "" && log.id != "" && stored.id != log.id:
			x.note("%s", x.createdAnew(stored.name))
		default:
			x.logs[which] = log
			continue
		}
		x.logs[which] = topicLog{name: stored.name}
		x.gone[which] = true
	}
	for _, p := range x.logs[topicCheckouts].partitions {
		x.gone[topicCheckouts] = x.gone[topicCheckouts] || p.logStart > x.snap.topics[topicCheckouts].start(p.partition)
	}
	return nil
}

// span is a part of a partition: from <= offset < to.
type span struct {
	partition int32
	from, to  int64
}

// cut is an offset of each partition.
type cut map[int32]int64

// cutAt reads where the records begin that were stamped at a certain time or later: none before it was.
// Partitions without such records are cut at their end.
func (x *explainer) cutAt(ctx context.Context, t topic, micros int64) (cut, error) {
	log := x.logs[t]
	listed, err := x.reader.admin.ListOffsetsAfterMilli(ctx, max(0, micros/1000), log.name)
	if err != nil {
		return nil, fmt.Errorf("read offsets of topic %s by time: %w", log.name, err)
	}
	c := cut{}
	for _, p := range log.partitions {
		o, ok := listed.Lookup(log.name, p.partition)
		if !ok || o.Err != nil {
			return nil, fmt.Errorf("read offsets of %s-%d by time: %w", log.name, p.partition, o.Err)
		}
		c[p.partition] = o.Offset
	}
	return c, nil
}

// spans lists the parts of the topic between two cuts, from the given starts on. A nil cut is the
// beginning, or the end.
func (x *explainer) spans(t topic, starts storedTopic, from, to cut) []span {
	var list []span
	for _, p := range x.logs[t].partitions {
		s := span{p.partition, max(p.logStart, starts.start(p.partition)), p.end}
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

// at lists single records of the topic, as far as Kafka holds them.
func (x *explainer) at(t topic, refs []recordRef) []span {
	var list []span
	for _, ref := range refs {
		for _, p := range x.logs[t].partitions {
			if p.partition == ref.partition && ref.offset >= p.logStart && ref.offset < p.end {
				list = append(list, span{p.partition, ref.offset, ref.offset + 1})
			}
		}
	}
	return list
}

// scan reads spans, several at a time. Records whose value cannot hold the text are passed over; found is
// called for the others, one at a time, with their timestamp in microseconds (-1: none).
func (x *explainer) scan(ctx context.Context, t topic, spans []span, text string, found func(r *kgo.Record, stamp int64)) error {
	log := x.logs[t]
	var total int64
	for _, s := range spans {
		total += s.to - s.from
	}
	shown := func(int64) {}
	if total >= worthShowing {
		x.progress.phase("offsets of topic "+log.name, total)
		shown = x.progress.add
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for _, s := range spans {
		x.out.Searched = append(x.out.Searched, OffsetRange{log.name, s.partition, s.from, s.to})
		group.Go(func() error {
			last := s.from
			err := x.reader.read(ctx, log, s.partition, s.from, s.to, func(r *kgo.Record) error {
				shown(r.Offset + 1 - last)
				last = r.Offset + 1
				// A JSON string that is equal to the text holds its bytes, unless it is written with escapes.
				if !bytes.Contains(r.Value, []byte(text)) && bytes.IndexByte(r.Value, '\\') < 0 {
					return nil
				}
				stamp := int64(-1)
				if ms := r.Timestamp.UnixMilli(); ms >= 0 {
					stamp = ms * 1000
				}
				mu.Lock()
				defer mu.Unlock()
				found(r, stamp)
				return nil
			}, func(start int64) {
				mu.Lock()
				defer mu.Unlock()
				x.gone[t] = true
				x.note("%s-%d: offsets below %d went away while they were being read", log.name, s.partition, start)
			})
			shown(s.to - last)
			return err
		})
	}
	return group.Wait()
}

// stampedBy is how much later than its event a record is stamped unless something is amiss, in microseconds.
func (x *explainer) stampedBy() int64 {
	return (x.snap.lateness + x.snap.outOfOrder + stampSlack).Microseconds()
}

// findCheckouts finds the records with the checkout_id. No record is stamped more than the skew before
// its event, so the row's time says where to begin. Only if the record is not found there, or is not as
// the row has it, all has to be read.
func (x *explainer) findCheckouts(ctx context.Context) error {
	var known []recordRef
	for ref := range x.dead {
		known = append(known, ref)
	}
	for _, l := range x.late {
		if ref := (recordRef{l.topic, l.Partition, l.Offset}); l.topic == topicCheckouts && !slices.Contains(known, ref) {
			known = append(known, ref)
		}
	}
	if err := x.scanCheckouts(ctx, x.at(topicCheckouts, known)); err != nil {
		return err
	}
	t, starts := topicCheckouts, x.snap.topics[topicCheckouts]
	var parts [][]span
	if x.row != nil && x.row.flags&flagTimed != 0 {
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
		for _, p := range x.logs[t].partitions {
			next[p.partition] = x.snap.shards[p.partition].next
		}
		parts = [][]span{x.spans(t, starts, next, nil), x.spans(t, starts, nil, next)}
	}
	for i, part := range parts {
		if i > 0 && x.foundEnough() {
			break
		}
		if err := x.scanCheckouts(ctx, part); err != nil {
			return err
		}
	}
	slices.SortFunc(x.records, func(a, b foundCheckout) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	return nil
}

// foundEnough says whether what the row is made of was found, or without a row anything at all.
func (x *explainer) foundEnough() bool {
	return slices.ContainsFunc(x.records, func(k foundCheckout) bool {
		if x.row == nil {
			return true
		}
		_, dead := x.dead[recordRef{topicCheckouts, k.partition, k.offset}]
		return k.reason == "" && !dead && x.differs(&k) == ""
	})
}

func (x *explainer) scanCheckouts(ctx context.Context, spans []span) error {
	column := x.snap.columns["checkout_id"]
	return x.scan(ctx, topicCheckouts, spans, x.id, func(r *kgo.Record, stamp int64) {
		k := foundCheckout{item: item{partition: r.Partition, offset: r.Offset}, stamp: stamp}
		k.event, k.reason = x.decode(topicCheckouts, r)
		switch {
		case k.reason != "" && k.reason != reasonFuture:
			if members, reason := decodeObject(r.Value); reason != "" || !x.isID(members[memberCheckoutID]) {
				return
			}
			k.id = x.id
		case column.stored(k.id) != x.id:
			return
		}
		if s, ok := x.snap.shards[r.Partition]; !ok || r.Offset >= s.next {
			k.flags |= flagPending
		}
		switch {
		case slices.ContainsFunc(x.records, func(o foundCheckout) bool { return o.partition == k.partition && o.offset == k.offset }):
		case len(x.records) < recordsKept:
			x.shortenValues(k.values)
			x.records = append(x.records, k)
		default:
			x.dropped++
		}
	})
}

// isID says whether a member is the checkout_id.
func (x *explainer) isID(raw []byte) bool {
	id, isString, _ := decodeString(raw)
	return isString && x.snap.columns["checkout_id"].stored(id) == x.id
}
