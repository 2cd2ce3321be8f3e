package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// newReader makes a client that reads. The name tells it from the others.
func (s *session) newReader(name string, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := s.cfg.Kafka.Opts()
	if err != nil {
		return nil, &ConfigError{err.Error()}
	}
	decompressor, err := kafkabatch.NewDecompressor(fetchBudget(s.cfg.MemoryLimit), &s.large, &s.buffers)
	if err != nil {
		return nil, err
	}
	opts = append(append(opts, s.readOptions(name)...), kgo.WithDecompressor(decompressor))
	if s.cfg.Kafka.SASL != "" {
		refused := fetchRefusals{&s.p.refused, name}
		opts = append(opts, kgo.WithLogger(refused), kgo.WithHooks(refused))
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("make the Kafka client for %s: %w", name, err)
	}
	return cl, nil
}

// fetchBudget is how much may be decompressed for one client between two polls: as much as a fetch of ordinary records becomes (fetchSizes).
// Of batches that become a thousand times as large as they came, the rest is fetched again. One batch more finds room (kafkabatch.MaxBytes).
func fetchBudget(limit int64) int64 {
	const most, least = 32 << 20, 8 << 20
	if limit <= 0 {
		return most
	}
	return min(max(limit/16, least), most)
}

// poll takes what the client has fetched, of no more than so many records (0: all). What the last poll gave is not held any more.
func (s *session) poll(ctx context.Context, cl *kgo.Client, most int) kgo.Fetches {
	if d, is := cl.OptValue(kgo.WithDecompressor).(*kafkabatch.Decompressor); is {
		d.Reset()
	}
	return cl.PollRecords(ctx, most)
}

// passUnreadable moves the client past batches that cannot be read. In the fetches a record stands for each (kafkabatch.Of). next is where
// reading of a partition stands.
func (s *session) passUnreadable(ctx context.Context, cl *kgo.Client, fetches kgo.Fetches, next func(topic string, p int32) int64) (kgo.Fetches, error) {
	var stuck []kgo.FetchError
	fetches.EachError(func(topic string, partition int32, err error) {
		if kafkabatch.Undecodable(err) {
			stuck = append(stuck, kgo.FetchError{Topic: topic, Partition: partition, Err: err})
		}
	})
	for _, e := range stuck {
		at := next(e.Topic, e.Partition)
		bad, err := s.unreadableFrom(ctx, cl, e.Topic, e.Partition, at)
		if err != nil && s.disturbed.news(Place{e.Topic, e.Partition}, err.Error(), time.Now()) {
			s.log.Warn("a batch that cannot be read is not passed over for now", "topic", e.Topic, "partition", e.Partition, "offset", at, "cause", err)
		}
		if len(bad) == 0 { // the client fetches it again by itself
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
			continue
		}
		var records []*kgo.Record
		for _, b := range bad {
			records = append(records, b.Record(e.Topic, e.Partition, at))
			s.log.Warn("a batch that cannot be read is passed over", "topic", e.Topic, "partition", e.Partition, "offset", b.First, "next_offset", b.Next, "cause", b.Detail())
		}
		fetches = append(slices.Clip(fetches), kgo.Fetch{Topics: []kgo.FetchTopic{{
			Topic: e.Topic, Partitions: []kgo.FetchPartition{{Partition: e.Partition, Records: records}},
		}}})
		// The group may rebalance only when this poll has been dealt with, so the partition is still ours.
		last := bad[len(bad)-1]
		cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{e.Topic: {e.Partition: {Epoch: last.Epoch, Offset: last.Next}}})
	}
	return fetches, nil
}

// unreadableFrom asks the broker itself which batches from an offset on cannot be read. None: what the client met was damaged on its way.
func (s *session) unreadableFrom(ctx context.Context, cl *kgo.Client, topic string, partition int32, at int64) ([]*kafkabatch.Bad, error) {
	judge, err := kafkabatch.NewDecompressor(0, &s.large, &s.buffers)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := kafkabatch.Read(ctx, cl, topic, s.infos[topic].id, partition, at)
	if err != nil {
		return nil, err
	}
	return judge.Unreadable(answer, at), nil
}

// unreadable is the dead letter of a batch that cannot be read: its content is not kept, only what it is found by.
func unreadable(rec *kgo.Record, bad *kafkabatch.Bad, topicID [16]byte) sink.DeadLetter {
	return sink.DeadLetter{
		Topic: rec.Topic, TopicID: topicID, Partition: rec.Partition, Offset: rec.Offset, RecordTime: recordTime(rec),
		Reason: event.ReasonUnreadable, Detail: bad.Detail(), Size: bad.Size, Sum: bad.Sum,
	}
}
