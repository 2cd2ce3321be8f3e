package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
)

// describeTopics reads both topics' ends and compares them with what the group knows of them.
// Explain can show a row without its topics: for it, a topic that is missing is a note.
func (r *run) describeTopics(ctx context.Context, explain bool) error {
	for which, stored := range r.snap.topics {
		log, err := r.reader.describe(ctx, stored.name)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition) && explain:
			err = fmt.Errorf("topic %s is not in Kafka", stored.name)
		case err != nil:
			return err
		case stored.id != "" && log.id != "" && stored.id != log.id:
			err = fmt.Errorf("topic %s was deleted and created anew since group %s began: "+
				"its records are not those the rows were made of", stored.name, r.cfg.Group)
		}
		switch {
		case err != nil && !explain:
			return err
		case err != nil:
			r.note("%v", err)
			r.logs[which], r.gone[which] = topicLog{name: stored.name}, true
			continue
		}
		r.logs[which] = log
		if log.unsure != nil && !explain {
			r.note("%s: whether it is compacted is not known (%v), and is taken for no: "+
				"rows whose records compaction took are called wrong. Grant DescribeConfigs on it",
				log.name, log.unsure)
		}
		for _, p := range log.partitions {
			from := stored.start(p.partition)
			switch gone := p.logStart > from; {
			case explain: // of clicks, only those of the window matter
				r.gone[which] = r.gone[which] || gone && topic(which) == topicCheckouts
				continue
			case gone && r.fromKafka:
				r.gone[which] = true
				r.note("%s-%d: Kafka holds what is at offset %d and later: what needs older records cannot be judged",
					log.name, p.partition, p.logStart)
			case gone:
				r.gone[which] = true
				r.note("%s-%d: the group began at offset %d, Kafka holds what is at %d and later: "+
					"rows that need older records cannot be verified", log.name, p.partition, from, p.logStart)
			}
			if p.end < p.high {
				r.note("%s-%d: a transaction has been open since offset %d of %d: what follows is not read",
					log.name, p.partition, p.end, p.high)
			}
		}
	}
	return nil
}

// describe reads the topic's partitions, starts and ends.
func (l *logReader) describe(ctx context.Context, topic string) (topicLog, error) {
	details, err := l.admin.ListTopics(ctx, topic)
	detail := details[topic]
	if err := cmp.Or(err, detail.Err); err != nil {
		return topicLog{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	starts, startErr := l.admin.ListStartOffsets(ctx, topic)
	// High watermarks first: a stable end below one is held back by a transaction, not by what came
	// in between.
	high, highErr := l.admin.ListEndOffsets(ctx, topic)
	stable, stableErr := l.admin.ListCommittedOffsets(ctx, topic)
	if err := cmp.Or(startErr, highErr, stableErr); err != nil {
		return topicLog{}, fmt.Errorf("read the offsets of topic %s: %w", topic, err)
	}
	t := topicLog{name: topic, id: topicID(detail.ID)}
	t.compacted, t.unsure = l.compacted(ctx, topic)
	for _, p := range slices.Sorted(maps.Keys(detail.Partitions)) {
		s, _ := starts.Lookup(topic, p)
		e, _ := stable.Lookup(topic, p)
		h, _ := high.Lookup(topic, p)
		if err := cmp.Or(s.Err, e.Err, h.Err); err != nil {
			return topicLog{}, fmt.Errorf("read the offsets of %s-%d: %w", topic, p, err)
		}
		t.partitions = append(t.partitions, partitionLog{p, s.Offset, e.Offset, h.Offset})
	}
	return t, nil
}

// compacted reads the topic's cleanup.policy. Where it may not, the answer is no: then a row whose
// record compaction deleted is called extra.
func (l *logReader) compacted(ctx context.Context, topic string) (is bool, unsure error) {
	configs, err := l.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return false, err
	}
	config, err := configs.On(topic, nil)
	if err := cmp.Or(err, config.Err); err != nil {
		return false, err
	}
	for _, c := range config.Configs {
		if c.Key == "cleanup.policy" && c.Value != nil {
			return strings.Contains(*c.Value, "compact"), nil
		}
	}
	return false, errors.New("the broker names no cleanup.policy")
}

// topicLog is a topic as it was when its ends were read.
type topicLog struct {
	name       string
	id         string // "" where the broker gives none
	compacted  bool   // records that have a key may have made way for later ones
	unsure     error  // why it is not known whether it is compacted; nil: it is known
	partitions []partitionLog
}

type partitionLog struct {
	partition int32
	logStart  int64 // of what Kafka still holds
	end       int64 // the last stable offset: beyond it a transaction is open, or nothing is
	high      int64 // the high watermark
}

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
