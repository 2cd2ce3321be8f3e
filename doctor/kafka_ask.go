package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafka asks the brokers.
type kafka struct {
	cfg    Config
	opts   []kgo.Opt
	client *kgo.Client
	admin  *kadm.Client
}

func newKafka(cfg Config) (*kafka, error) {
	k := &kafka{cfg: cfg}
	opts, err := cfg.Kafka.Opts()
	if err != nil {
		return k, err
	}
	k.opts = append(opts, kgo.RetryTimeout(cfg.askWithin), kgo.DialTimeout(2*time.Second), kgo.RequestTimeoutOverhead(2*time.Second))
	k.client, err = kgo.NewClient(k.opts...)
	if err != nil {
		return k, fmt.Errorf("make a Kafka client: %w", err)
	}
	k.admin = kadm.NewClient(k.client)
	return k, nil
}

func (k *kafka) close() {
	if k.client != nil {
		k.client.Close()
	}
}

func (k *kafka) topics() []string { return []string{k.cfg.ClicksTopic, k.cfg.CheckoutsTopic} }

// ask gathers all that needs Kafka alone.
func (k *kafka) ask(ctx context.Context, f *facts) {
	facts := &f.kafka
	f.all(ctx, k.cfg.askWithin, map[question]func(context.Context) error{
		askVersions: func(ctx context.Context) (err error) {
			facts.versions, err = k.versions(ctx)
			return err
		},
		askBrokers: func(ctx context.Context) error {
			metadata, err := k.admin.BrokerMetadata(ctx)
			if err == nil {
				facts.advertised = k.knock(ctx, metadata.Brokers)
			}
			return err
		},
		askConfigs: func(ctx context.Context) (err error) {
			facts.configs, err = k.configs(ctx)
			return err
		},
		askDirs: func(ctx context.Context) error {
			ours := kadm.TopicsSet{} // every directory is in the answer, whichever partitions it is asked about
			for _, topic := range k.topics() {
				ours.Add(topic, 0)
			}
			dirs, err := k.admin.DescribeAllLogDirs(ctx, ours)
			dirs.Each(func(d kadm.DescribedLogDir) {
				facts.dirs = append(facts.dirs, d)
				err = errors.Join(err, d.Err)
			})
			return err
		},
	})
}

func (k *kafka) versions(ctx context.Context) (map[int32]string, error) {
	brokers, err := k.admin.ApiVersions(ctx)
	if err != nil {
		return nil, err
	}
	versions := map[int32]string{}
	for id, b := range brokers {
		if b.Err != nil {
			err = b.Err
			continue
		}
		versions[id] = b.VersionGuess()
	}
	if len(versions) > 0 {
		return versions, nil
	}
	return nil, err
}

// knock asks every broker at the address that it gives itself: clients go there, not to the one they began with.
func (k *kafka) knock(ctx context.Context, brokers kadm.BrokerDetails) map[string]error {
	answers := map[string]error{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, b := range brokers {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := k.client.Broker(int(b.NodeID)).Request(ctx, kmsg.NewPtrApiVersionsRequest())
			mu.Lock()
			defer mu.Unlock()
			answers[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = err
		})
	}
	group.Wait()
	return answers
}

// describeGroup asks who is in the group. A group that was never there has no members.
func (k *kafka) describeGroup(ctx context.Context, facts *kafkaFacts) error {
	groups, err := k.admin.DescribeGroups(ctx, k.cfg.Group)
	if err == nil {
		facts.group = groups[k.cfg.Group]
		err = facts.group.Err
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		err = nil
	}
	return err
}

// times asks when the first and last records of the logs were written.
func (k *kafka) times(ctx context.Context, f *facts) {
	first, last := map[place]int64{}, map[place]int64{}
	for p, end := range f.kafka.ends {
		if start, known := f.kafka.starts[p]; known && start < end {
			first[p], last[p] = start, end-1
		}
	}
	f.all(ctx, k.cfg.askWithin, map[question]func(context.Context) error{
		askNewest: func(ctx context.Context) (err error) {
			f.kafka.newest, err = k.recordTimes(ctx, last)
			return err
		},
		askOldest: func(ctx context.Context) (err error) {
			f.kafka.oldest, err = k.recordTimes(ctx, first)
			return err
		},
	})
}

// placed leaves out topics and partitions that do not exist.
func placed(listed kadm.ListedOffsets, err error) (map[place]int64, error) {
	if err != nil {
		return nil, err
	}
	offsets := map[place]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		switch {
		case o.Err == nil:
			offsets[place{o.Topic, o.Partition}] = o.Offset
		case !errors.Is(o.Err, kerr.UnknownTopicOrPartition):
			err = fmt.Errorf("%s[%d]: %w", o.Topic, o.Partition, o.Err)
		}
	})
	return offsets, err
}

func (k *kafka) configs(ctx context.Context) (map[string]map[string]string, error) {
	described, err := k.admin.DescribeTopicConfigs(ctx, k.topics()...)
	if err != nil {
		return nil, err
	}
	configs := map[string]map[string]string{}
	for _, topic := range described {
		switch {
		case errors.Is(topic.Err, kerr.UnknownTopicOrPartition):
			continue
		case topic.Err != nil:
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

// askLag asks when the next checkouts that Postgres does not have yet were written.
func (k *kafka) askLag(ctx context.Context, f *facts) {
	next := map[place]int64{}
	for _, s := range f.postgres.stored.shards {
		p := place{k.cfg.CheckoutsTopic, s.Partition}
		if start, end := f.kafka.starts[p], f.kafka.ends[p]; s.Next >= start && s.Next < end {
			next[p] = s.Next
		}
	}
	f.all(ctx, recordWithin, map[question]func(context.Context) error{askLagging: func(ctx context.Context) (err error) {
		f.kafka.lagging, err = k.recordTimes(ctx, next)
		return err
	}})
}

// recordTimes reads the timestamps of the records at (or behind) the given offsets. What is missing when ctx ends is missing, with an error.
func (k *kafka) recordTimes(ctx context.Context, offsets map[place]int64) (map[place]time.Time, error) {
	times := map[place]time.Time{}
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
	opts := append(k.opts[:len(k.opts):len(k.opts)], kgo.ConsumePartitions(consume), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(250*time.Millisecond), kgo.FetchMaxPartitionBytes(64<<10))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return times, err
	}
	defer client.Close()
	unreadable := map[place]bool{}
	for len(times)+len(unreadable) < len(offsets) {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() != nil {
				return times, fmt.Errorf("read records: %w", ctx.Err())
			}
			if errors.Is(e.Err, kgo.ErrMaxDecompress) { // run passes over such a batch: it has no times to tell
				unreadable[place{e.Topic, e.Partition}] = true
			} else if !kerr.IsRetriable(e.Err) {
				return times, fmt.Errorf("read records of %s: %w", e.Topic, e.Err)
			}
		}
		fetches.EachPartition(func(part kgo.FetchTopicPartition) {
			if len(part.Records) == 0 {
				return
			}
			p := place{part.Topic, part.Partition}
			if _, known := times[p]; !known {
				if at := part.Records[0].Timestamp; at.After(kafkasAge) {
					times[p] = at
				} else { // none, or seconds for milliseconds: it would be 50 years old
					unreadable[p] = true
				}
				client.PauseFetchPartitions(map[string][]int32{p.topic: {p.partition}})
			}
		})
	}
	return times, nil
}

// kafkasAge is before which nobody wrote a record: Kafka is younger.
var kafkasAge = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
