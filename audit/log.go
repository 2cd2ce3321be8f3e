package audit

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkabatch"
	"firstclick/internal/kafkaconn"
)

const (
	unreachable = 30 * time.Second // how long Kafka may be away before an audit gives up
	fetchBytes  = 1 << 20          // of one fetch; a larger batch comes whole
)

// logReader reads partitions by Fetch requests of its own. A consumer does not say how far it has
// come over records that read_committed leaves out (aborted ones, control records). So it does not
// say that it is at the end if the last record before the end is one of them.
type logReader struct {
	client       *kgo.Client
	admin        *kadm.Client
	decompressor *kafkabatch.Decompressor
}

func newLogReader(config kafkaconn.Config) (*logReader, error) {
	opts, err := config.Opts()
	if err != nil {
		return nil, fmt.Errorf("configure kafka client: %w", err)
	}
	client, err := kgo.NewClient(append(opts, kgo.RetryTimeout(unreachable), kgo.ClientID("firstclick-audit"))...)
	if err != nil {
		return nil, fmt.Errorf("configure kafka client: %w", err)
	}
	decompressor, err := kafkabatch.NewDecompressor(0, new(kafkabatch.LargeBuffers))
	if err != nil {
		client.Close()
		return nil, err
	}
	return &logReader{client: client, admin: kadm.NewClient(client), decompressor: decompressor}, nil
}

func (l *logReader) Close() { l.client.Close() }

// read gives every committed record of the partition at offsets from <= o < to, in order; in place
// of a batch that cannot be read, a record that stands for it (kafkabatch.Of). If retention deletes
// records that were still to be read, moved is called with the new start of the log, where reading
// goes on.
func (l *logReader) read(
	ctx context.Context, t topicLog, partition int32, from, to int64, fn func(*kgo.Record) error, moved func(int64),
) error {
	at := from
	var leader *kgo.Broker
	var failing time.Time // since when every answer was an error
	for at < to {
		var resp *kmsg.FetchResponseTopicPartition
		var err error
		if leader == nil {
			leader, err = l.leader(ctx, t.name, partition)
		}
		if err == nil {
			resp, err = l.fetch(ctx, leader, t, partition, at)
		}
		var records []*kgo.Record
		next := at
		if err == nil {
			records, next, err = l.decode(t.name, partition, at, resp)
		}
		switch {
		case err == nil:
			for _, r := range records {
				if r.Offset >= to {
					return nil
				}
				if err := fn(r); err != nil {
					return fmt.Errorf("read %s-%d at offset %d: %w", t.name, partition, r.Offset, err)
				}
			}
			at, failing = next, time.Time{}
			continue
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, kerr.OffsetOutOfRange):
			starts, startErr := l.admin.ListStartOffsets(ctx, t.name)
			s, ok := starts.Lookup(t.name, partition)
			if err = cmp.Or(startErr, s.Err); err == nil && ok && s.Offset > at {
				at = s.Offset
				moved(at)
				continue
			}
			err = cmp.Or(err, fmt.Errorf("out of range, the log starts at %d; was it truncated?", s.Offset))
		case !kerr.IsRetriable(err) && !kgo.IsRetryableBrokerErr(err) && !errors.Is(err, errNoLeader):
		case failing.IsZero() || time.Since(failing) <= unreachable:
			leader = nil // it may have moved
			if failing.IsZero() {
				failing = time.Now()
			}
			select {
			case <-ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
			continue
		}
		return fmt.Errorf("read %s-%d at offset %d: %w", t.name, partition, at, err)
	}
	return nil
}

var errNoLeader = errors.New("the partition has no leader")

func (l *logReader) leader(ctx context.Context, topic string, partition int32) (*kgo.Broker, error) {
	details, err := l.admin.ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("find the leader: %w", err)
	}
	d, ok := details[topic].Partitions[partition]
	if !ok || d.Err != nil || d.Leader < 0 {
		return nil, errNoLeader
	}
	return l.client.Broker(int(d.Leader)), nil
}

func (l *logReader) fetch(
	ctx context.Context, leader *kgo.Broker, t topicLog, partition int32, at int64,
) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, fetchBytes
	req.IsolationLevel = 1 // read_committed
	req.SessionEpoch = -1  // no fetch session
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = t.name
	if _, err := hex.Decode(topic.TopicID[:], []byte(t.id)); err != nil {
		return nil, err
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, fetchBytes
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, leader)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
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

// decode gives the records of an answer, and the offset to go on at.
func (l *logReader) decode(
	topic string, partition int32, at int64, resp *kmsg.FetchResponseTopicPartition,
) ([]*kgo.Record, int64, error) {
	opts := kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition,
	}
	got, next := kgo.ProcessFetchPartition(opts, resp, l.decompressor, nil)
	if kafkabatch.Undecodable(got.Err) {
		got.Records = nil
		for _, bad := range l.decompressor.Unreadable(resp, at) {
			if next, got.Err = bad.Next, nil; !bad.Aborted {
				got.Records = append(got.Records, bad.Record(topic, partition, at))
			}
		}
	}
	return got.Records, next, got.Err
}
