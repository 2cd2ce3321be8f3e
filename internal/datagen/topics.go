package datagen

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxMessageBytes is the largest record of topics that are created for Config.TooLarge.
const maxMessageBytes = 8 << 20

// connect opens the client and waits for Kafka's first answer.
func connect(ctx context.Context, cfg Config) (*kgo.Client, error) {
	opts, err := cfg.Kafka.Opts()
	if err != nil {
		return nil, fmt.Errorf("kafka settings: %w", err)
	}
	opts = append(opts,
		kgo.ClientID("firstclick-generate"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), // the script chooses the partition
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // the batches are ours
		kgo.MaxBufferedRecords(8*maxBatch),
		kgo.MetadataMinAge(250*time.Millisecond), // to notice a new topic or leader soon
		kgo.ProducerBatchCompression(codecs()[cfg.Compression]),
	)
	if cfg.TooLarge > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(largest+1<<20))
	}
	if cfg.Transactional != "" {
		opts = append(opts, kgo.TransactionalID(cfg.Transactional))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka settings: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	if err := client.Ping(within); err != nil {
		client.Close()
		brokers := strings.Join(cfg.Kafka.Brokers, ",")
		return nil, fmt.Errorf("reach kafka at %s within %s: %w", brokers, cfg.ConnectTimeout, err)
	}
	return client, nil
}

// prepareTopics creates the topics that are missing, waits until every partition has a leader, and
// returns the number of partitions of each topic.
func prepareTopics(ctx context.Context, client *kgo.Client, cfg Config) (partitions [topics]int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*cfg.ConnectTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	names := [topics]string{cfg.ClicksTopic, cfg.CheckoutsTopic}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		found, err := admin.ListTopics(ctx, names[:]...)
		if err != nil {
			return partitions, fmt.Errorf("read topics: %w", err)
		}
		ready := 0
		for t, name := range names {
			topic, ok := found[name]
			leaders := 0
			for _, p := range topic.Partitions {
				if p.Leader >= 0 && p.Err == nil {
					leaders++
				}
			}
			switch {
			case !ok || errors.Is(topic.Err, kerr.UnknownTopicOrPartition):
				if err := createTopic(ctx, admin, cfg, name); err != nil {
					return partitions, err
				}
			case topic.Err != nil && !kerr.IsRetriable(topic.Err):
				return partitions, fmt.Errorf("read topic %s: %w", name, topic.Err)
			case topic.Err == nil && leaders > 0 && leaders == len(topic.Partitions):
				partitions[t] = int32(leaders)
				ready++
			}
		}
		if ready == len(names) {
			return partitions, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return partitions, fmt.Errorf("wait for leaders of %s: %w", strings.Join(names[:], " and "), ctx.Err())
		}
	}
}

// createTopic creates a topic. It is no error if the topic exists and is not visible yet.
func createTopic(ctx context.Context, admin *kadm.Client, cfg Config, name string) error {
	configs := map[string]*string{}
	if !cfg.Start.IsZero() && time.Since(cfg.Start) > time.Hour {
		forever := "-1" // retention by the records' timestamps would delete old events as they come
		configs["retention.ms"] = &forever
	}
	if cfg.TooLarge > 0 {
		limit := strconv.Itoa(maxMessageBytes)
		configs["max.message.bytes"] = &limit
	}
	answer, err := admin.CreateTopic(ctx, cfg.Partitions, -1, configs, name)
	if err == nil {
		err = answer.Err
	}
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return nil
	case err != nil:
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	cfg.Logger.Info("topic created", "topic", name, "partitions", cfg.Partitions)
	return nil
}
