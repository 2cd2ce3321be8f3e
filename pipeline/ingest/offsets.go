package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/pipeline/ending"
)

// Timestamps that a ListOffsets request gives a meaning of their own
// (https://kafka.apache.org/protocol#The_Messages_ListOffsets).
const (
	atEnd    = int64(-1)
	atStart  = int64(-2)
	atNewest = int64(-3) // the record with the greatest timestamp; since Kafka 3.0
)

// unknownOffset stands for an offset that Kafka did not give.
const unknownOffset = -2

// Starts gives the first offset of every clicks partition.
func (k *Kafka) Starts(ctx context.Context) ([]int64, error) {
	return k.offsets(ctx, k.Clicks, atStart)
}

// StableEnds gives the last stable offsets of both topics: what open transactions hold is left out.
func (k *Kafka) StableEnds(ctx context.Context) (clicks, checkouts []int64, err error) {
	if clicks, err = listOffsets(ctx, k.admin(), k.Clicks, atEnd, true); err != nil {
		return nil, nil, err
	}
	checkouts, err = listOffsets(ctx, k.admin(), k.Checkouts, atEnd, true)
	return clicks, checkouts, err
}

// offsets gives, by partition, an offset: the start, the end, or that of the first record at or
// after a time in milliseconds (-1: none).
func (k *Kafka) offsets(ctx context.Context, t Topic, at int64) ([]int64, error) {
	return listOffsets(ctx, k.admin(), t, at, false)
}

func listOffsets(ctx context.Context, cl *kgo.Client, t Topic, at int64, stable bool) ([]int64, error) {
	offsets, _, err := tryOffsets(ctx, cl, t, at, stable)
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

// newestTimestamp is the greatest timestamp of the topics' records, in milliseconds; -1 where there
// is no record, or no broker says.
func newestTimestamp(ctx context.Context, cl *kgo.Client, topics ...Topic) (newest int64, err error) {
	newest = -1
	for _, t := range topics {
		_, timestamps, err := tryOffsets(ctx, cl, t, atNewest, false)
		switch {
		case errors.Is(err, kerr.UnsupportedVersion) || errors.Is(err, kerr.InvalidRequest):
			return -1, nil
		case err != nil:
			return -1, err
		}
		newest = max(newest, slices.Max(timestamps))
	}
	return newest, nil
}

// tryOffsets sends ListOffsets to the leaders of all partitions. It is for callers that can use a
// part of the answer: unknownOffset stands for an offset that did not come, and the error is the
// first one. The timestamps are those of the records at the offsets; -1: none.
func tryOffsets(ctx context.Context, cl *kgo.Client, t Topic, at int64, stable bool) (
	offsets, timestamps []int64, err error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if stable {
		req.IsolationLevel = 1
	}
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.Name
	for p := range t.Partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, at, -1
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	offsets = slices.Repeat([]int64{unknownOffset}, int(t.Partitions))
	timestamps = slices.Repeat([]int64{-1}, int(t.Partitions))
	for _, shard := range cl.RequestSharded(ctx, req) { // one request a leader
		if shard.Err != nil {
			err = cmp.Or(err, fmt.Errorf("ask Kafka for offsets: %w", shard.Err))
			continue
		}
		answer := shard.Resp.(*kmsg.ListOffsetsResponse)
		for _, at := range answer.Topics {
			for i := range at.Partitions {
				p := &at.Partitions[i]
				if failed := kerr.ErrorForCode(p.ErrorCode); failed != nil {
					err = cmp.Or(err, fmt.Errorf("ask Kafka for offsets of %s[%d]: %w", t.Name, p.Partition, failed))
				} else if int(p.Partition) < len(offsets) {
					offsets[p.Partition] = p.Offset
					if answer.Version >= 7 { // before, atNewest was a time before 1970
						timestamps[p.Partition] = p.Timestamp
					}
				}
			}
		}
	}
	if p := slices.Index(offsets, unknownOffset); p >= 0 {
		err = cmp.Or(err, fmt.Errorf("ask Kafka for offsets of %s[%d]: no answer", t.Name, p))
	}
	return offsets, timestamps, err
}

// CheckTruncated checks, for each clicks partition, the last record that was read: the offset
// before next, under a leader epoch (-1: unknown). A log whose epoch ends before that record has
// lost it, and another record has its offset now (KIP-320). Brokers without epochs (before Kafka
// 2.1) are not checked.
func (k *Kafka) CheckTruncated(ctx context.Context, epochs []int32, next []int64) error {
	topic := k.cfg.ClicksTopic
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = topic
	for p, epoch := range epochs {
		if epoch >= 0 {
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.LeaderEpoch, rp.CurrentLeaderEpoch = int32(p), epoch, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
	}
	if len(rt.Partitions) == 0 {
		return nil
	}
	req.Topics = append(req.Topics, rt)
	for _, shard := range k.admin().RequestSharded(ctx, req) {
		if errors.Is(shard.Err, kerr.UnsupportedVersion) {
			return nil
		}
		if shard.Err != nil {
			return fmt.Errorf("ask Kafka for leader epochs of %s: %w", topic, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.OffsetForLeaderEpochResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("ask Kafka for the leader epoch of %s[%d]: %w", topic, p.Partition, err)
				}
				if n := p.Partition; int(n) < len(next) && p.EndOffset >= 0 && p.EndOffset < next[n] {
					return ending.Gapf(topic, n,
						"the log was truncated: offset %d was read under leader epoch %d, which ends at %d now",
						next[n]-1, epochs[n], p.EndOffset)
				}
			}
		}
	}
	return nil
}
