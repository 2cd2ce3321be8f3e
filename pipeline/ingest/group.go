package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkagroup"
	"firstclick/join/event"
	"firstclick/pipeline/ending"
)

// owner owns the shards that the group assigns.
type owner interface {
	// Assign takes partitions over, and gives for each where reading begins.
	Assign(ctx context.Context, partitions []int32) (map[int32]event.Position, error)
	// Revoke gives partitions up. It returns when what was released of them is written; at once,
	// where they were lost to another member already.
	Revoke(ctx context.Context, partitions []int32, lost bool)
}

type offsetMap = map[string]map[int32]kgo.Offset

// JoinGroup makes the client that is a member of the group. Its offsets come from the owner, never
// from Kafka. ctx ends the waiting in the group's callbacks.
func (k *Kafka) JoinGroup(ctx context.Context, o owner) error {
	member, err := k.Membership.member(ctx)
	if err != nil {
		k.log.Debug("which database this is, is not told", "cause", err)
	}
	balancer, err := kafkagroup.Balancer(member)
	if err != nil {
		return err
	}
	topic := k.cfg.CheckoutsTopic
	opts := []kgo.Opt{
		kgo.ConsumerGroup(k.cfg.Group), kgo.ConsumeTopics(topic),
		kgo.SessionTimeout(k.sessionTimeout(ctx)), kgo.HeartbeatInterval(time.Second),
		kgo.RebalanceTimeout(30 * time.Second),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		// With this callback polls wait for the assignment too.
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			k.Metrics.Assigned.Inc()
			k.Refusals.note(groupMember, nil, time.Now())
			k.Membership.set(&k.Membership.join, "")
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			if len(p[topic]) > 0 {
				k.Metrics.revoked.Inc()
				o.Revoke(ctx, p[topic], false)
			}
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			if len(p[topic]) > 0 {
				k.Metrics.lost.Inc()
				o.Revoke(ctx, p[topic], true)
			}
		}),
		kgo.AdjustFetchOffsetsFn(func(assigning context.Context, topics offsetMap) (offsetMap, error) {
			if len(topics[topic]) == 0 {
				return topics, nil
			}
			assigning, cancel := context.WithCancel(assigning)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			positions, err := o.Assign(assigning, slices.Collect(maps.Keys(topics[topic])))
			if err != nil {
				return nil, err
			}
			for p, at := range positions {
				topics[topic][p] = offsetOf(at.NextOffset, at.LeaderEpoch)
				k.reading.begin(topic, p, at.NextOffset)
			}
			return topics, nil
		}),
	}
	if k.cfg.Static != "" {
		opts = append(opts, kgo.InstanceID(k.cfg.Static))
	}
	k.group, err = k.newClient("checkouts", opts...)
	return err
}

// offsetOf is where a client begins to read. With the leader epoch of the last record that was
// read, the client finds out by itself that the log was truncated meanwhile.
func offsetOf(next int64, epoch int32) kgo.Offset {
	o := kgo.NewOffset().At(next)
	if epoch >= 0 {
		o = o.WithEpoch(epoch)
	}
	return o
}

// wantedTimeout is the session timeout: how long the group waits for a member that was killed
// before its partitions go to others, where the brokers allow it.
const wantedTimeout = 10 * time.Second

// otherTimeouts are tried in turn where brokers do not say what they allow and refuse
// wantedTimeout: the default of Java's clients, which is allowed nearly everywhere, and the default
// bounds. https://kafka.apache.org/documentation/#brokerconfigs_group.min.session.timeout.ms
var otherTimeouts = [...]time.Duration{45 * time.Second, 6 * time.Second, 30 * time.Minute}

// sessionTimeout is wantedTimeout within what the brokers allow.
func (k *Kafka) sessionTimeout(ctx context.Context) time.Duration {
	k.Membership.mu.Lock()
	refused := k.Membership.refused
	k.Membership.mu.Unlock()
	if refused > 0 {
		return otherTimeouts[refused-1]
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	admin := kadm.NewClient(k.admin())
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return wantedTimeout
	}
	configs, err := admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	if err != nil {
		return wantedTimeout
	}
	least, most := time.Duration(0), time.Duration(1<<63-1)
	for _, broker := range configs { // any of them may lead the group
		for _, c := range broker.Configs {
			ms, err := strconv.ParseInt(c.MaybeValue(), 10, 64)
			if err != nil || ms <= 0 {
				continue
			}
			switch c.Key {
			case "group.min.session.timeout.ms":
				least = max(least, time.Duration(ms)*time.Millisecond)
			case "group.max.session.timeout.ms":
				most = min(most, time.Duration(ms)*time.Millisecond)
			}
		}
	}
	use := max(min(wantedTimeout, most), least)
	if use != wantedTimeout {
		k.log.Info("the brokers bound the session timeout",
			"session_timeout_seconds", use.Seconds(), "wanted_seconds", wantedTimeout.Seconds())
	}
	return use
}

// groupError says what it means that the group does not let this instance in; nil: the client tries
// again by itself.
func (k *Kafka) groupError(err error) error {
	m := k.Membership
	switch {
	case errors.Is(err, kerr.InvalidSessionTimeout):
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.refused == len(otherTimeouts) {
			return ending.Configf("the brokers refuse every session timeout that was tried (%v, %v): "+
				"set group.min.session.timeout.ms to 10000 or less", wantedTimeout, otherTimeouts)
		}
		m.refused++
		return &ending.RestartError{Cause: err}
	case IsRefusal(err):
		k.Refusals.note(groupMember, err, time.Now())
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		m.set(&m.join, fmt.Sprintf("group %s has members that are no firstclick, and they balance in another way: "+
			"stop them, or run with another --group", k.cfg.Group))
	}
	if k.noticed.due(Place{}, err.Error(), time.Now()) {
		k.log.Warn("the group does not let this instance in", "cause", err)
	}
	return nil
}

// CommitOffsets commits offsets to the group, for tools that show its lag. Nothing reads them here,
// so an error does no harm.
func (k *Kafka) CommitOffsets(ctx context.Context, clicks, checkouts map[int32]int64) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	member, generation := k.group.GroupMetadata()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = k.cfg.Group, generation, member
	if k.cfg.Static != "" {
		req.InstanceID = kmsg.StringPtr(k.cfg.Static)
	}
	add := func(topic Topic, offsets map[int32]int64) {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = topic.Name, topic.ID
		for p, o := range offsets {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset = p, o
			rt.Partitions = append(rt.Partitions, rp)
		}
		if len(offsets) > 0 {
			req.Topics = append(req.Topics, rt)
		}
	}
	add(k.Checkouts, checkouts)
	add(k.Clicks, clicks)
	if _, err := req.RequestWith(ctx, k.group); err != nil && ctx.Err() == nil {
		k.log.Debug("group offsets not committed", "cause", err)
	}
}
