package testbed

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Ends returns where the partitions of topics end.
func Ends(ctx context.Context, admin *kadm.Client, topics ...string) (kadm.ListedOffsets, error) {
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err := errors.Join(err, ends.Error()); err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	return ends, nil
}

// Read reads committed records from the start of topics to their ends, and calls each with what a
// poll brought of a partition. It returns how many records it read, those of transactions' ends
// included. Offsets must have no holes.
func Read(ctx context.Context, addr string, ends kadm.ListedOffsets, each func(kgo.FetchTopicPartition) error,
) (records int64, err error) {
	from := map[string]map[int32]kgo.Offset{}
	var left int64
	ends.Each(func(end kadm.ListedOffset) {
		if from[end.Topic] == nil {
			from[end.Topic] = map[int32]kgo.Offset{}
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().AtStart()
		left += end.Offset
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return 0, fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	for records < left {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return records, fmt.Errorf("read the topics: %w", err)
		}
		records += int64(fetches.NumRecords())
		var failed error
		fetches.EachPartition(func(part kgo.FetchTopicPartition) {
			if failed == nil && each != nil {
				failed = each(part)
			}
		})
		if failed != nil {
			return records, failed
		}
	}
	return records, nil
}
