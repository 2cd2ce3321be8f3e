package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/pipeline/ending"
)

// Topic is what fresh metadata say of a topic.
type Topic struct {
	Name       string
	ID         [16]byte // zero: the broker gives none
	Partitions int32
}

// describe requests the metadata of topics from the brokers. The client's cache may be old. A topic
// that does not exist has no partitions.
func describe(ctx context.Context, cl *kgo.Client, names ...string) (map[string]Topic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	topics := map[string]Topic{}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
		topics[name] = Topic{Name: name}
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("ask Kafka for its topics: %w", err)
	}
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
		topic := Topic{Name: *t.Topic, ID: t.TopicID}
		for _, p := range t.Partitions {
			topic.Partitions = max(topic.Partitions, p.Partition+1)
		}
		topics[*t.Topic] = topic
	}
	return topics, nil
}

// awaitTopics waits until both topics exist, and logs once that it waits.
func (k *Kafka) awaitTopics(ctx context.Context) error {
	logged := ""
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		topics, err := describe(ctx, k.admin(), k.cfg.ClicksTopic, k.cfg.CheckoutsTopic)
		reason := ""
		if IsRefusal(err) {
			k.Refusals.note(clicksEnds, err, time.Now())
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case k.Refusals.Err() != nil:
			return k.Refusals.Err()
		case err != nil && !Transient(err) && !IsRefusal(err):
			return err
		case err != nil:
			reason = err.Error()
		default:
			k.Clicks, k.Checkouts = topics[k.cfg.ClicksTopic], topics[k.cfg.CheckoutsTopic]
			for _, t := range []Topic{k.Clicks, k.Checkouts} {
				if t.Partitions == 0 {
					reason = "topic " + t.Name + " does not exist yet"
				}
			}
		}
		if reason == "" {
			if logged != "" {
				k.log.Info("topics are there", "clicks", k.cfg.ClicksTopic, "checkouts", k.cfg.CheckoutsTopic)
			}
			return nil
		}
		if reason != logged {
			k.log.Warn("waiting for Kafka", "reason", reason)
			logged = reason
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// sizes gives the number of partitions of both topics now, and a gap where a topic is not the one
// that it was when the attempt began.
func (k *Kafka) sizes(ctx context.Context) (clicks, checkouts int32, err error) {
	topics, err := describe(ctx, k.admin(), k.cfg.ClicksTopic, k.cfg.CheckoutsTopic)
	if err != nil {
		return 0, 0, err
	}
	for _, old := range []Topic{k.Clicks, k.Checkouts} {
		now := topics[old.Name]
		switch {
		case now.Partitions == 0:
			return 0, 0, fmt.Errorf("topic %s is gone", old.Name)
		case now.ID != old.ID:
			return 0, 0, ending.Gapf(old.Name, 0,
				"the topic was deleted and made again (topic id %x, before %x)", now.ID, old.ID)
		case now.Partitions < old.Partitions && now.ID == [16]byte{}:
			return 0, 0, ending.Gapf(old.Name, now.Partitions,
				"the topic has fewer partitions than before: it was deleted and made again")
		}
	}
	return topics[k.cfg.ClicksTopic].Partitions, topics[k.cfg.CheckoutsTopic].Partitions, nil
}

// pause waits for d, or returns early with ctx's error.
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
