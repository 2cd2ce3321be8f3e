package audit

import (
	"context"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
)

// decode reads the event of a record. reason is "", or the reason of the dead letter that it is.
func (r *run) decode(t topic, rec *kgo.Record) (e event, reason string) {
	e, reason = decode(t, rec.Value, r.snap.zone)
	stamp := rec.Timestamp.UnixMilli() // -1 where it has none: then there is nothing to compare with
	limit := r.snap.columns["click_id"].limit
	switch {
	case kafkabatch.Of(rec) != nil:
		reason = reasonUnreadable
	case reason != "":
	case t == topicClicks && limit > 0 && utf8.RuneCountInString(e.id) > limit:
		reason = reasonRefused // the column cannot hold its id
	case stamp >= 0 && e.time > stamp*1000+r.snap.skew:
		reason = reasonFuture
	}
	return e, reason
}

// readTopic reads a topic to its ends, compares it with the entries of its records, and sorts
// what is valid.
func (r *run) readTopic(ctx context.Context, t topic) error {
	log := r.logs[t]
	var total int64
	for _, p := range log.partitions {
		total += max(0, p.end-p.logStart)
	}
	r.progress.phase("offsets of topic "+log.name, total)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	var mu sync.Mutex
	for _, p := range log.partitions {
		group.Go(func() error {
			reader := &partitionReader{
				run: r, mu: &mu, topic: t, log: log, partition: p, start: r.snap.topics[t].start(p.partition),
				next: p.logStart, first: endless, idColumn: r.snap.columns["checkout_id"],
			}
			return reader.read(ctx)
		})
	}
	return group.Wait()
}
