package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/pipeline/sink"
)

// lastRead is the record that was last read of a partition: what a log must still hold under the same leader epoch, else it was
// truncated while we were away (KIP-320).
type lastRead struct {
	epoch int32
	next  int64 // its offset + 1
}

// clicksRead gives, by clicks partition, the last record that any shard has stored as read and whose leader epoch is known.
func clicksRead(shards []sink.State, partitions int) map[int32]lastRead {
	last := map[int32]lastRead{}
	for i := range shards {
		at := &shards[i].Position
		for p := range min(partitions, len(at.ClicksNext), len(at.ClicksEpoch)) {
			if at.ClicksEpoch[p] >= 0 && at.ClicksNext[p] > last[int32(p)].next {
				last[int32(p)] = lastRead{at.ClicksEpoch[p], at.ClicksNext[p]}
			}
		}
	}
	return last
}

// checkTruncated asks the leaders where the epochs of the last records read end. A log that ends its epoch before such a record has lost it, and
// what stands at its offset now is another record. Brokers that do not know epochs (before Kafka 2.1) are believed.
func (s *session) checkTruncated(ctx context.Context, topic string, last map[int32]lastRead) error {
	if len(last) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = topic
	for p, l := range last {
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.Partition, rp.LeaderEpoch, rp.CurrentLeaderEpoch = p, l.epoch, -1
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	for _, shard := range s.clicksClient.RequestSharded(ctx, req) {
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
				if l := last[p.Partition]; p.EndOffset >= 0 && p.EndOffset < l.next {
					return &GapError{topic, p.Partition, fmt.Sprintf("the log was truncated: offset %d was read under leader epoch %d, which ends at %d now",
						l.next-1, l.epoch, p.EndOffset), s.cureForGap()}
				}
			}
		}
	}
	return nil
}

// place is where the client begins to read a partition. With the leader epoch of the last record read it notices by itself that the log was
// truncated meanwhile.
func place(next int64, epoch int32) kgo.Offset {
	o := kgo.NewOffset().At(next)
	if epoch >= 0 {
		o = o.WithEpoch(epoch)
	}
	return o
}

// allClaimed says whether every partition that the group began with has been claimed by somebody.
func (s *session) allClaimed(shards []sink.State) bool {
	n := 0
	for i := range shards {
		if int(shards[i].Claim.Partition) < len(s.progress.CheckoutsStart) {
			n++
		}
	}
	return n >= len(s.progress.CheckoutsStart)
}
