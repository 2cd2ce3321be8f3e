package doctor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (k *kafka) configs(ctx context.Context) (map[string]map[string]string, error) {
	described, err := k.admin.DescribeTopicConfigs(ctx, k.cfg.topics()...)
	if err != nil {
		return nil, err
	}
	configs := map[string]map[string]string{}
	for _, topic := range described {
		if errors.Is(topic.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if topic.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic.Name, topic.Err)
		}
		settings := map[string]string{}
		for _, c := range topic.Configs {
			settings[c.Key] = c.MaybeValue()
		}
		configs[topic.Name] = settings
	}
	return configs, nil
}

func (k *kafka) metadata(ctx context.Context) (kadm.Metadata, error) {
	return k.admin.Metadata(ctx, k.cfg.topics()...)
}

func (k *kafka) starts(ctx context.Context) (map[topicPartition]int64, error) {
	return byPartition(k.admin.ListStartOffsets(ctx, k.cfg.topics()...))
}

func (k *kafka) ends(ctx context.Context) (map[topicPartition]int64, error) {
	return byPartition(k.admin.ListEndOffsets(ctx, k.cfg.topics()...))
}

// byPartition leaves out topics and partitions that do not exist.
func byPartition(listed kadm.ListedOffsets, err error) (map[topicPartition]int64, error) {
	if err != nil {
		return nil, err
	}
	offsets := map[topicPartition]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		switch {
		case o.Err == nil:
			offsets[topicPartition{o.Topic, o.Partition}] = o.Offset
		case !errors.Is(o.Err, kerr.UnknownTopicOrPartition):
			err = fmt.Errorf("%s[%d]: %w", o.Topic, o.Partition, o.Err)
		}
	})
	return offsets, err
}

// topic returns what the metadata says; ok is false if the topic does not exist.
func (f *facts) topic(name string) (t kadm.TopicDetail, ok bool) {
	t, ok = f.metadata.Topics[name]
	return t, ok && t.Err == nil && len(t.Partitions) > 0
}

func (f *facts) existingTopics() (topics []kadm.TopicDetail) {
	for _, name := range f.cfg.topics() {
		if t, ok := f.topic(name); ok {
			topics = append(topics, t)
		}
	}
	return topics
}

func (f *facts) alterTopic(topic, setting string) string {
	return f.command("kafka-configs.sh", "--alter --entity-type topics --entity-name "+topic+" --add-config "+setting)
}

func topics(f *facts) (found findings) {
	for _, name := range f.cfg.topics() {
		t, there := f.topic(name)
		err := f.metadata.Topics[name].Err
		switch {
		case there:
			found = append(found, f.partitions(t)...)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			found = found.fail(
				f.grantACL("--operation Read --operation Describe --operation DescribeConfigs --topic "+name),
				"%s: this user may not see it", name)
		case err == nil || errors.Is(err, kerr.UnknownTopicOrPartition):
			found = found.warn(f.command("kafka-topics.sh", "--create --topic "+name+" --partitions 3"),
				"%s does not exist: run waits until it does", name)
		default:
			found = found.warn("", "%s: %s", name, rootCause(err))
		}
	}
	return found
}

func (f *facts) partitions(t kadm.TopicDetail) (found findings) {
	var down []string
	for _, p := range t.Partitions.Sorted() {
		if p.Leader < 0 || p.Err != nil {
			down = append(down, strconv.Itoa(int(p.Partition)))
		}
	}
	if down != nil {
		return found.fail("start the brokers that hold them",
			"%s: no leader for partitions %s", t.Topic, strings.Join(down, ", "))
	}
	if members := f.members.Ours; t.Topic == f.cfg.CheckoutsTopic && members > len(t.Partitions) {
		alter := fmt.Sprintf("--alter --topic %s --partitions %d", t.Topic, members)
		return found.warn(f.command("kafka-topics.sh", alter),
			"%s: %d partitions for %d instances, of which %d only stand by",
			t.Topic, len(t.Partitions), members, members-len(t.Partitions))
	}
	return found.ok("%s: %d partitions", t.Topic, len(t.Partitions))
}

func replicas(f *facts) (found findings) {
	brokers := len(f.metadata.Brokers)
	for _, t := range f.existingTopics() {
		least, lagging := math.MaxInt, 0
		for _, p := range t.Partitions {
			least = min(least, len(p.Replicas))
			if len(p.ISR) < len(p.Replicas) {
				lagging++
			}
		}
		needed, err := strconv.Atoi(f.configs[t.Topic]["min.insync.replicas"])
		if err != nil {
			needed = 1
		}
		switch {
		case least == 1 && brokers > 1:
			found = found.warn("kafka-reassign-partitions.sh, to 3 replicas",
				"%s has one replica on a cluster of %d brokers: its records are lost with one broker", t.Topic, brokers)
		case needed >= least && least > 1:
			found = found.warn(f.alterTopic(t.Topic, fmt.Sprintf("min.insync.replicas=%d", least-1)),
				"%s: min.insync.replicas is %d of %d replicas: nothing can be produced while one broker is down",
				t.Topic, needed, least)
		case lagging > 0:
			found = found.warn("look at the brokers that are behind",
				"%s: %d of %d partitions have replicas that are not in sync", t.Topic, lagging, len(t.Partitions))
		case needed == 1 && least > 1:
			found = found.warn(f.alterTopic(t.Topic, "min.insync.replicas=2"),
				"%s: min.insync.replicas is 1: a record that was acknowledged can be lost with one broker", t.Topic)
		default:
			found = found.ok("%s: %d replicas, min.insync.replicas %d", t.Topic, least, needed)
		}
	}
	return found
}
