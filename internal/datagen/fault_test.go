package datagen

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// A short outage of the broker delays the events and loses none.
func TestBrokerErrorsAreOutlived(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
	var mu sync.Mutex
	refused := 0
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if refused++; refused%3 != 0 {
			return nil, nil, false
		}
		return nil, errors.New("connection cut"), true
	})
	sum, err := Run(
		t.Context(),
		Config{Kafka: kafkaconn.Config{Brokers: cluster.ListenAddrs()}, Rate: 1_000, Count: 300, Seed: 47},
	)
	if err != nil {
		t.Fatal(err)
	}
	if held := ends(t, cluster); held != sum.Records || sum.Clicks+sum.Checkouts != 300 {
		t.Errorf("the topics hold %d records, the summary says %d", held, sum.Records)
	}
}

// A run that is stopped during an outage of Kafka ends, and says what is not acknowledged.
func TestStopWithoutKafka(t *testing.T) {
	for _, cfg := range []Config{{}, {Unordered: true}, {Transactional: "generator"}} {
		cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		requests := 0
		cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if requests++; requests < 10 {
				return nil, nil, false
			}
			cancel()
			return nil, errors.New("connection cut"), true
		})
		cfg.Kafka, cfg.Rate, cfg.StopTimeout = kafkaconn.Config{
			Brokers: cluster.ListenAddrs(),
		}, 1_000, 500*time.Millisecond
		sum, err := Run(ctx, cfg)
		if err == nil || !strings.Contains(err.Error(), "not acknowledged") || sum.Records == 0 {
			t.Errorf("%d records: %v", sum.Records, err)
		}
		if held := ends(t, cluster); held < sum.Records {
			t.Errorf("the topics hold %d records, the summary says %d", held, sum.Records)
		}
	}
}

// Records that Kafka refuses for good are an error, and are not counted.
func TestRefusedRecordsAreAnError(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		ask := req.(*kmsg.ProduceRequest)
		answer := ask.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range ask.Topics {
			rt := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
			for _, p := range topic.Partitions {
				rt.Partitions = append(rt.Partitions, kmsg.ProduceResponseTopicPartition{
					Partition: p.Partition, ErrorCode: kerr.TopicAuthorizationFailed.Code,
				})
			}
			answer.Topics = append(answer.Topics, rt)
		}
		return answer, nil, true
	})
	sum, err := Run(
		t.Context(),
		Config{Kafka: kafkaconn.Config{Brokers: cluster.ListenAddrs()}, Count: 100_000, Seed: 53},
	)
	if !errors.Is(err, kerr.TopicAuthorizationFailed) || sum.Records != 0 {
		t.Errorf("%d records: %v", sum.Records, err)
	}
}

func TestUnreachable(t *testing.T) {
	const nobody = "127.0.0.1:1" // a port that the system gives to nobody
	brokers := kafkatest.Fake(t, 1)
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"kafka": {Config{Kafka: kafkaconn.Config{Brokers: []string{nobody}}}, "reach kafka at " + nobody},
		"postgres": {Config{Kafka: kafkaconn.Config{Brokers: brokers},
			Database: "postgres://u:secret@" + nobody + "/x"}, "reach postgres at " + nobody},
		"no tables": {
			Config{Kafka: kafkaconn.Config{Brokers: brokers},
				Database: pgtest.Empty(t)}, "run firstclick migrate first",
		},
	} {
		c.cfg.ConnectTimeout = 500 * time.Millisecond
		if name == "no tables" {
			c.cfg.ConnectTimeout = 0
		}
		_, err := Run(t.Context(), c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %v", name, err)
	}
}
