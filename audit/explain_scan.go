package audit

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const (
	stampSlack   = time.Minute // how much later than what counts as late a producer stamps a record
	recordsKept  = 1000        // records with one checkout_id that are looked at
	worthShowing = 50_000      // offsets that take long enough for progress to be of interest
)

// span is a part of a partition: from <= offset < to.
type span struct {
	partition int32
	from, to  int64
}

// offsets has one of each partition.
type offsets map[int32]int64

// offsetsAt reads where the first record is that was stamped at a certain time or later. Partitions
// without such a record have their end.
func (x *explainer) offsetsAt(ctx context.Context, t topic, micros int64) (offsets, error) {
	log := x.logs[t]
	listed, err := x.reader.admin.ListOffsetsAfterMilli(ctx, max(0, micros/1000), log.name)
	if err != nil {
		return nil, fmt.Errorf("read offsets of topic %s by time: %w", log.name, err)
	}
	c := offsets{}
	for _, p := range log.partitions {
		o, ok := listed.Lookup(log.name, p.partition)
		if !ok || o.Err != nil {
			return nil, fmt.Errorf("read offsets of %s-%d by time: %w", log.name, p.partition, o.Err)
		}
		c[p.partition] = o.Offset
	}
	return c, nil
}

// offsetsAround reads where the records of events from first to last begin, and where they end if
// they were stamped in time.
func (x *explainer) offsetsAround(ctx context.Context, t topic, first, last int64) (from, to offsets, err error) {
	if from, err = x.offsetsAt(ctx, t, first-x.snap.skew); err == nil {
		to, err = x.offsetsAt(ctx, t, last+x.stampedBy())
	}
	return from, to, err
}

// spans lists the parts of the topic between two offsets, from the given starts on. nil is the
// beginning, or the end.
func (x *explainer) spans(t topic, starts storedTopic, from, to offsets) []span {
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

// scan reads spans, several at a time. Records whose value cannot hold the text are passed over;
// found is called for the others, one at a time, with their timestamp in microseconds (-1: none).
func (x *explainer) scan(
	ctx context.Context, t topic, spans []span, text string, found func(r *kgo.Record, stamp int64),
) error {
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
				// A JSON string that is equal to the text holds its bytes, unless it is written
				// with escapes.
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

// stampedBy is how much later than its event, in microseconds, a record is stamped at most, unless
// something is wrong.
func (x *explainer) stampedBy() int64 {
	return (x.snap.lateness + x.snap.outOfOrder + stampSlack).Microseconds()
}
