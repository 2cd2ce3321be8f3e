package ingest

import (
	"context"
	"iter"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/pipeline/chunk"
)

// Again reads the checkouts [from, to) of a partition again, with a client of its own, at most so
// many in a chunk, which then belongs to the receiver. It begins later where retention deleted
// some: their rows stand.
func (c *Checkouts) Again(ctx context.Context, partition int32, from, to int64, most int) (
	chunks iter.Seq2[*chunk.Chunk, error]) {
	return func(yield func(*chunk.Chunk, error) bool) {
		k, topic := c.Kafka, c.Kafka.cfg.CheckoutsTopic
		start, err := c.awaitStart(ctx, partition)
		if err != nil {
			yield(nil, err)
			return
		}
		if from = max(from, start); from >= to {
			return
		}
		cl, err := k.newClient("restore", kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.ConsumePartitions(offsetMap{topic: {partition: kgo.NewOffset().At(from)}}))
		if err != nil {
			yield(nil, err)
			return
		}
		defer cl.Close()
		reader := c.reader(nil, nil)
		for from < to {
			fetches, err := k.poll(ctx, cl, most, func(string, int32) int64 { return from })
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, f := range partitionsOf(fetches) {
				from = kafkabatch.Next(f.Records[len(f.Records)-1])
				reader.read(partition, f.Records, 0)
				if !yield(reader.out, nil) {
					return
				}
			}
		}
	}
}

// partitionsOf lists the partitions of a poll that have records.
func partitionsOf(fetches kgo.Fetches) (parts []kgo.FetchTopicPartition) {
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) > 0 {
			parts = append(parts, f)
		}
	})
	return parts
}

// awaitStart requests where a checkouts partition begins until Kafka answers.
func (c *Checkouts) awaitStart(ctx context.Context, p int32) (int64, error) {
	k := c.Kafka
	for {
		topic := Topic{Name: k.cfg.CheckoutsTopic, Partitions: p + 1}
		starts, _, err := tryOffsets(ctx, k.admin(), topic, atStart, false)
		if starts[p] != unknownOffset {
			return starts[p], nil
		}
		k.log.Debug("can't learn where a checkouts partition begins",
			"topic", k.cfg.CheckoutsTopic, "partition", p, "cause", err)
		if err := pause(ctx, idleEnds); err != nil {
			return 0, err
		}
	}
}

// WaitingTimes gives, by checkouts partition, the median event time of the first checkouts from an
// offset on; none where no checkout waits there. One wrong clock among them must not count.
func (c *Checkouts) WaitingTimes(ctx context.Context, from map[int32]int64) (map[int32]int64, error) {
	const enough = 31
	ends, err := listOffsets(ctx, c.Kafka.admin(), c.Kafka.Checkouts, atEnd, true)
	if err != nil {
		return nil, err
	}
	medians := map[int32]int64{}
	for p, next := range from {
		if int(p) >= len(ends) {
			continue
		}
		var times []int64
		for read, err := range c.Again(ctx, p, next, ends[p], 0) {
			if err != nil {
				return nil, err
			}
			for i := range read.Checkouts {
				if k := &read.Checkouts[i]; !k.Skip && len(times) < enough {
					times = append(times, k.Time)
				}
			}
			c.Chunks.Put(read)
			if len(times) > 0 {
				break
			}
		}
		if len(times) > 0 {
			slices.Sort(times)
			medians[p] = times[(len(times)-1)/2]
		}
	}
	return medians, nil
}
