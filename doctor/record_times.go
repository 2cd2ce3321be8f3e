package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxFutureSkew = 5 * time.Minute // events further ahead of their record's time are dead letters
	maxDrift      = time.Second     // clocks that differ by more are worth a warning
)

// recordsToRead returns the offsets of the oldest and newest record of each partition that has any,
// and of the next checkouts that Postgres does not have.
func (f *facts) recordsToRead() (oldest, newest, next map[topicPartition]int64) {
	oldest, newest, next = map[topicPartition]int64{}, map[topicPartition]int64{}, map[topicPartition]int64{}
	for p, end := range f.ends {
		if start, known := f.starts[p]; known && start < end {
			oldest[p], newest[p] = start, end-1
		}
	}
	for _, s := range f.stored.shards {
		p := topicPartition{f.cfg.CheckoutsTopic, s.Partition}
		if start, there := oldest[p]; there && s.Next >= start && s.Next <= newest[p] {
			next[p] = s.Next
		}
	}
	return oldest, newest, next
}

// timesAt reads the timestamps of the records at the given offsets, or of the first ones after
// them. When ctx ends it returns what it has, with an error.
func (k *kafka) timesAt(offsets map[topicPartition]int64) func(context.Context) (map[topicPartition]time.Time, error) {
	return func(ctx context.Context) (map[topicPartition]time.Time, error) { return k.readTimes(ctx, offsets) }
}

func (k *kafka) readTimes(ctx context.Context, offsets map[topicPartition]int64) (map[topicPartition]time.Time, error) {
	times := map[topicPartition]time.Time{}
	if len(offsets) == 0 {
		return times, nil
	}
	consume := map[string]map[int32]kgo.Offset{}
	for p, o := range offsets {
		if consume[p.topic] == nil {
			consume[p.topic] = map[int32]kgo.Offset{}
		}
		consume[p.topic][p.partition] = kgo.NewOffset().At(o)
	}
	opts := append(k.opts[:len(k.opts):len(k.opts)],
		kgo.ConsumePartitions(consume), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(250*time.Millisecond), kgo.FetchMaxPartitionBytes(64<<10))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return times, err
	}
	defer client.Close()
	unreadable := map[topicPartition]bool{}
	for len(times)+len(unreadable) < len(offsets) {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			switch {
			case ctx.Err() != nil:
				return times, fmt.Errorf("read records: %w", ctx.Err())
			case errors.Is(e.Err, kgo.ErrMaxDecompress): // run passes over such a batch
				unreadable[topicPartition{e.Topic, e.Partition}] = true
			case !kerr.IsRetriable(e.Err):
				return times, fmt.Errorf("read records of %s: %w", e.Topic, e.Err)
			}
		}
		fetches.EachPartition(func(part kgo.FetchTopicPartition) {
			p := topicPartition{part.Topic, part.Partition}
			if _, known := times[p]; known || len(part.Records) == 0 {
				return
			}
			if at := part.Records[0].Timestamp; at.Year() >= 2000 {
				times[p] = at
			} else { // no timestamp, or seconds for milliseconds: Kafka is not that old
				unreadable[p] = true
			}
			client.PauseFetchPartitions(map[string][]int32{p.topic: {p.partition}})
		})
	}
	return times, nil
}

// recordTimes compares the clock here with the times that producers and brokers put on records.
func recordTimes(f *facts) (found findings) {
	const fix = "chronyc tracking, here and on the producers' machines"
	for _, t := range f.existingTopics() {
		var newest time.Time
		for p, at := range f.newest {
			if p.topic == t.Topic && at.After(newest) {
				newest = at
			}
		}
		early := newest.Sub(f.cfg.Now())
		switch err := f.errs["newest records"]; {
		case newest.IsZero() && errors.Is(err, kerr.TopicAuthorizationFailed):
			found = found.fail(f.grantACL("--operation Read --topic "+t.Topic),
				"%s: this user may not read it", t.Topic)
		case newest.IsZero() && err != nil:
			found = found.warn("", "%s: its newest record could not be read: %s", t.Topic, rootCause(err))
		case newest.IsZero():
			found = found.ok("%s is empty", t.Topic)
		case early > maxFutureSkew:
			found = found.fail(fix, "%s: the newest record is from %s in the future", t.Topic, shown(early))
		case early > maxDrift:
			found = found.warn(fix, "%s: the newest record is from %s in the future", t.Topic, shown(early))
		default:
			found = found.ok("%s: the newest record is %s old", t.Topic, shown(max(0, -early)))
		}
	}
	return found
}
