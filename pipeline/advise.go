package pipeline

import (
	"context"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/pipeline/sink"
)

// announce says in firstclick.instances that this instance lives.
func (s *session) announce(ctx context.Context) error {
	st := s.p.Stats()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	a := sink.Announcement{Group: s.cfg.Group, Host: host, PID: os.Getpid(), Version: s.cfg.Version, Listen: s.cfg.Listen}
	for _, sh := range st.Shards {
		a.Shards = append(a.Shards, sh.Partition)
	}
	return s.p.sink.Announce(ctx, a)
}

// commitGroup commits to Kafka what Postgres holds: of our shards, and, by the owner of partition 0, of clicks. Only lag tools read it,
// so a failure is nobody's loss.
func (s *session) commitGroup(ctx context.Context) {
	st := s.p.Stats()
	if len(st.Shards) == 0 || s.checkoutsClient == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	member, generation := s.checkoutsClient.GroupMetadata()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = s.cfg.Group, generation, member
	if s.cfg.Static != "" {
		req.InstanceID = kmsg.StringPtr(s.cfg.Static)
	}
	add := func(topic string, offsets map[int32]int64) {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = topic, s.infos[topic].id
		for p, o := range offsets {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset = p, o
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	checkouts := map[int32]int64{}
	for _, sh := range st.Shards {
		checkouts[sh.Partition] = sh.Committed
	}
	add(s.cfg.CheckoutsTopic, checkouts)
	if st.Shards[0].Partition == 0 {
		clicks := map[int32]int64{}
		for p, o := range st.Shards[0].ClicksCommitted {
			clicks[int32(p)] = o
		}
		add(s.cfg.ClicksTopic, clicks)
	}
	if _, err := req.RequestWith(ctx, s.checkoutsClient); err != nil && ctx.Err() == nil {
		s.log.Debug("group offsets not committed", "cause", err)
	}
}
