package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkabatch"
)

const (
	unreachable = 30 * time.Second // how long Kafka may be away before an audit gives up
	fetchBytes  = 1 << 20          // asked for at a time; a single larger batch comes whole
)

// topicLog is a topic as it was when its ends were asked for.
type topicLog struct {
	name       string
	id         [16]byte // zero where the broker gives none
	compacted  bool     // records that have a key may have made way for later ones
	unsure     error    // why it is not known whether it is compacted; nil: it is known
	partitions []partitionLog
}

type partitionLog struct {
	partition int32
	logStart  int64 // of what Kafka still holds
	end       int64 // the last stable offset: beyond it a transaction is open, or nothing is
	high      int64 // the high watermark
}

// logReader reads partitions by Fetch requests of its own instead of a consumer: only so is it told how far it has come over
// records that read_committed leaves out (aborted ones, control records), and that it is at the end although the last
// record before the end never comes.
type logReader struct {
	client       *kgo.Client
	admin        *kadm.Client
	decompressor *kafkabatch.Decompressor
}

func newLogReader(opts []kgo.Opt) (*logReader, error) {
	opts = append(slices.Clone(opts), kgo.RetryTimeout(unreachable), kgo.ClientID("firstclick-audit"))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("configure kafka client: %w", err)
	}
	decompressor, err := kafkabatch.NewDecompressor(0, new(kafkabatch.Large))
	if err != nil {
		client.Close()
		return nil, err
	}
	return &logReader{client: client, admin: kadm.NewClient(client), decompressor: decompressor}, nil
}

func (l *logReader) Close() { l.client.Close() }

// describe asks for the topic's partitions, starts and ends.
func (l *logReader) describe(ctx context.Context, topic string) (topicLog, error) {
	details, err := l.admin.ListTopics(ctx, topic)
	if err != nil {
		return topicLog{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	detail := details[topic]
	if detail.Err != nil {
		return topicLog{}, fmt.Errorf("describe topic %s: %w", topic, detail.Err)
	}
	starts, err := l.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return topicLog{}, fmt.Errorf("ask where topic %s starts: %w", topic, err)
	}
	// In this order: a stable end that is less than what was the end before is held by a transaction, not by what came in between.
	high, err := l.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return topicLog{}, fmt.Errorf("ask where topic %s ends: %w", topic, err)
	}
	stable, err := l.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return topicLog{}, fmt.Errorf("ask where topic %s ends: %w", topic, err)
	}
	t := topicLog{name: topic, id: detail.ID}
	t.compacted, t.unsure = l.compacted(ctx, topic)
	for _, p := range slices.Sorted(maps.Keys(detail.Partitions)) {
		s, _ := starts.Lookup(topic, p)
		e, _ := stable.Lookup(topic, p)
		h, _ := high.Lookup(topic, p)
		if err := errors.Join(s.Err, e.Err, h.Err); err != nil {
			return topicLog{}, fmt.Errorf("ask for offsets of %s-%d: %w", topic, p, err)
		}
		t.partitions = append(t.partitions, partitionLog{partition: p, logStart: s.Offset, end: e.Offset, high: h.Offset})
	}
	return t, nil
}

// compacted asks for the topic's cleanup.policy. Who may not ask is told that it is not: then a row whose record compaction took is extra.
func (l *logReader) compacted(ctx context.Context, topic string) (is bool, unsure error) {
	configs, err := l.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return false, err
	}
	config, err := configs.On(topic, nil)
	if err := errors.Join(err, config.Err); err != nil {
		return false, err
	}
	for _, c := range config.Configs {
		if c.Key == "cleanup.policy" && c.Value != nil {
			return strings.Contains(*c.Value, "compact"), nil
		}
	}
	return false, errors.New("the broker names no cleanup.policy")
}

// read gives every committed record of the partition at offsets from <= o < to, in order; in place of a batch that cannot be read, one that says
// so (kafkabatch.Of). If retention takes records
// that were still to be read, moved is told where the log starts now, and reading goes on there.
func (l *logReader) read(ctx context.Context, t topicLog, partition int32, from, to int64, fn func(*kgo.Record) error, moved func(int64)) error {
	at := from
	var leader *kgo.Broker
	var lost time.Time // since when no answer was of use
	for at < to {
		next, err := l.step(ctx, &leader, t, partition, at, to, fn)
		switch {
		case err == nil:
			at, lost = next, time.Time{}
			continue
		case ctx.Err() != nil:
			return fmt.Errorf("read %s-%d at offset %d: %w", t.name, partition, at, context.Cause(ctx))
		case errors.Is(err, kerr.OffsetOutOfRange):
			start, startErr := l.startAfter(ctx, t.name, partition, at)
			if startErr != nil {
				return startErr
			}
			moved(start)
			at = start
			continue
		case !kerr.IsRetriable(err) && !kgo.IsRetryableBrokerErr(err) && !errors.Is(err, errNoLeader):
			return fmt.Errorf("read %s-%d at offset %d: %w", t.name, partition, at, err)
		}
		leader = nil // it may have moved
		if lost.IsZero() {
			lost = time.Now()
		} else if time.Since(lost) > unreachable {
			return fmt.Errorf("read %s-%d at offset %d: %w", t.name, partition, at, err)
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// step makes one fetch and hands its records on; it returns the offset to go on at.
func (l *logReader) step(ctx context.Context, leader **kgo.Broker, t topicLog, partition int32, at, to int64, fn func(*kgo.Record) error) (int64, error) {
	if *leader == nil {
		var err error
		if *leader, err = l.leader(ctx, t.name, partition); err != nil {
			return 0, err
		}
	}
	resp, err := l.fetch(ctx, *leader, t, partition, at)
	if err != nil {
		return 0, err
	}
	return l.deliver(t.name, partition, at, to, resp, fn)
}

// startAfter is the log's start, which retention has moved beyond offset at.
func (l *logReader) startAfter(ctx context.Context, topic string, partition int32, at int64) (int64, error) {
	starts, err := l.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("ask where %s-%d starts: %w", topic, partition, err)
	}
	s, ok := starts.Lookup(topic, partition)
	if !ok || s.Err != nil || s.Offset <= at {
		return 0, fmt.Errorf("read %s-%d at offset %d: out of range, the log starts at %d; was it truncated?", topic, partition, at, s.Offset)
	}
	return s.Offset, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

var errNoLeader = errors.New("the partition has no leader")

func (l *logReader) fetch(ctx context.Context, leader *kgo.Broker, t topicLog, partition int32, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 500
	req.MinBytes = 1
	req.MaxBytes = fetchBytes
	req.IsolationLevel = 1 // read_committed
	req.SessionEpoch = -1  // no fetch session
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = t.name, t.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = partition
	p.FetchOffset = at
	p.PartitionMaxBytes = fetchBytes
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, leader)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if got := &resp.Topics[i].Partitions[j]; got.Partition == partition {
				return got, kerr.ErrorForCode(got.ErrorCode)
			}
		}
	}
	return nil, fmt.Errorf("the answer to a fetch of %s-%d is about something else", t.name, partition)
}

// leader asks who leads the partition.
func (l *logReader) leader(ctx context.Context, topic string, partition int32) (*kgo.Broker, error) {
	details, err := l.admin.ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("ask for leader: %w", err)
	}
	d, ok := details[topic].Partitions[partition]
	if !ok || d.Err != nil || d.Leader < 0 {
		return nil, errNoLeader
	}
	return l.client.Broker(int(d.Leader)), nil
}

// deliver hands on the records of one answer and returns the offset to go on at.
func (l *logReader) deliver(topic string, partition int32, at, to int64, resp *kmsg.FetchResponseTopicPartition, fn func(*kgo.Record) error) (int64, error) {
	opts := kgo.ProcessFetchPartitionOpts{Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition}
	got, next := kgo.ProcessFetchPartition(opts, resp, l.decompressor, nil)
	if kafkabatch.Undecodable(got.Err) {
		got.Records = nil
		for _, bad := range l.decompressor.Unreadable(resp, at) {
			if next, got.Err = bad.Next, nil; !bad.Aborted {
				got.Records = append(got.Records, bad.Record(topic, partition, at))
			}
		}
	}
	if got.Err != nil {
		return 0, got.Err
	}
	for _, r := range got.Records {
		if r.Offset >= to {
			return to, nil
		}
		if err := fn(r); err != nil {
			return 0, err
		}
	}
	return next, nil
}
