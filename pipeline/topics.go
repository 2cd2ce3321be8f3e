package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicInfo is what fresh metadata says of a topic.
type topicInfo struct {
	id         [16]byte
	partitions int32
}

// timestamps that ListOffsets gives a meaning of their own (Kafka protocol, ListOffsets).
const (
	atEnd    = int64(-1)
	atStart  = int64(-2)
	atNewest = int64(-3) // the record with the greatest timestamp; since Kafka 3.0
)

// describe asks the brokers, not the client's cache, which partitions the topics have. A topic that does not exist is absent.
func describe(ctx context.Context, cl *kgo.Client, topics ...string) (map[string]topicInfo, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t)
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("ask Kafka for its topics: %w", err)
	}
	infos := map[string]topicInfo{}
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			continue
		case err != nil:
			return nil, fmt.Errorf("ask Kafka for topic %s: %w", *t.Topic, err)
		}
		n := int32(0)
		for _, p := range t.Partitions {
			n = max(n, p.Partition+1)
		}
		infos[*t.Topic] = topicInfo{id: t.TopicID, partitions: n}
	}
	return infos, nil
}

// listOffsets asks for an offset of every partition of the topics: their starts, ends, or the first record at or after a time in
// milliseconds (then -1: none). stable leaves out what open transactions hold.
func listOffsets(ctx context.Context, cl *kgo.Client, topics map[string]int32, at int64, stable bool) (map[string][]int64, error) {
	offsets, err := askOffsets(ctx, cl, topics, at, stable)
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

const unknownOffset = -2

// askOffsets is listOffsets where some of the answers may do. Those that did not come are unknownOffset, and the error is that of the first.
func askOffsets(ctx context.Context, cl *kgo.Client, topics map[string]int32, at int64, stable bool) (map[string][]int64, error) {
	return askEach(ctx, cl, topics, at, stable, func(_ int16, p *kmsg.ListOffsetsResponseTopicPartition) int64 { return p.Offset })
}

// newestStamp is the greatest timestamp of the topics' records, in milliseconds; ok is false where
// there is none, or where no broker tells.
func newestStamp(ctx context.Context, cl *kgo.Client, topics map[string]int32) (newest int64, ok bool, err error) {
	const none, since = -1, 7 // an older version takes the question for one about a time before 1970
	stamps, err := askEach(ctx, cl, topics, atNewest, false, func(version int16, p *kmsg.ListOffsetsResponseTopicPartition) int64 {
		if version < since {
			return none
		}
		return p.Timestamp
	})
	if errors.Is(err, kerr.UnsupportedVersion) || errors.Is(err, kerr.InvalidRequest) {
		return 0, false, nil
	}
	newest = none
	for _, of := range stamps {
		newest = max(newest, slices.Max(of))
	}
	return newest, newest >= 0, err
}

// askEach takes of each partition what pick takes of its answer.
func askEach(ctx context.Context, cl *kgo.Client, topics map[string]int32, at int64, stable bool,
	pick func(version int16, p *kmsg.ListOffsetsResponseTopicPartition) int64) (map[string][]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if stable {
		req.IsolationLevel = 1
	}
	offsets := map[string][]int64{}
	for topic, n := range topics {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = topic
		offsets[topic] = make([]int64, n)
		for p := range n {
			offsets[topic][p] = unknownOffset
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, at, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	var failed error
	for _, shard := range cl.RequestSharded(ctx, req) { // one request a leader
		if shard.Err != nil {
			failed = cmp.Or(failed, fmt.Errorf("ask Kafka for offsets: %w", shard.Err))
			continue
		}
		answer := shard.Resp.(*kmsg.ListOffsetsResponse)
		for _, t := range answer.Topics {
			for i := range t.Partitions {
				p := &t.Partitions[i]
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = cmp.Or(failed, fmt.Errorf("ask Kafka for offsets of %s[%d]: %w", t.Topic, p.Partition, err))
				} else if int(p.Partition) < len(offsets[t.Topic]) {
					offsets[t.Topic][p.Partition] = pick(answer.Version, p)
				}
			}
		}
	}
	for topic, os := range offsets {
		if p := slices.Index(os, unknownOffset); p >= 0 {
			failed = cmp.Or(failed, fmt.Errorf("ask Kafka for offsets of %s[%d]: no answer", topic, p))
		}
	}
	return offsets, failed
}

// awaitTopics waits until both topics exist, and says so once.
func (s *session) awaitTopics(ctx context.Context) (map[string]topicInfo, error) {
	said := ""
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		infos, err := describe(ctx, s.clicksClient, s.cfg.ClicksTopic, s.cfg.CheckoutsTopic)
		text := ""
		if isRefusal(err) {
			s.p.refused.note(asksClicks, err, time.Now())
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s.p.refused.lasting() != nil:
			return nil, s.p.refused.lasting()
		case err != nil && !passes(err) && !isRefusal(err):
			return nil, err
		case err != nil:
			text = err.Error()
		default:
			for _, t := range []string{s.cfg.ClicksTopic, s.cfg.CheckoutsTopic} {
				if infos[t].partitions == 0 {
					text = "topic " + t + " does not exist yet"
				}
			}
			if text == "" {
				if said != "" {
					s.log.Info("topics are there", "clicks", s.cfg.ClicksTopic, "checkouts", s.cfg.CheckoutsTopic)
				}
				return infos, nil
			}
		}
		if text != said {
			s.log.Warn("waiting for Kafka", "reason", text)
			said = text
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// pause waits, or ends early with ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
