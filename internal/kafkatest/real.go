package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabroker"
)

// shared is the one real broker of a test process. It is state of the package because it lives
// until the process ends, whichever tests use it.
var shared struct {
	once   sync.Once
	broker *kafkabroker.Broker
	err    error
	names  atomic.Int64
}

// Real returns the address of a real broker, the same for all tests of the process, started when
// first asked for. Tests have topics of their own (see Name). The broker goes with its data when
// the process ends.
func Real(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "firstclick-kafka-")
		if err != nil {
			shared.err = err
			return
		}
		if shared.broker, err = kafkabroker.Start(dir, kafkabroker.Options{Quick: true, Temporary: true}); err != nil {
			shared.err = errors.Join(err, os.RemoveAll(dir))
		}
	})
	if shared.err != nil {
		t.Fatalf("start the test broker: %v", shared.err)
	}
	return shared.broker.Addr
}

// Name returns a topic or group name that no other test of the process has.
func Name(t testing.TB, base string) string {
	t.Helper()
	test := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("%s-%.100s-%d", base, test, shared.names.Add(1))
}

// CreateTopics creates topics with one replica and waits until their partitions have leaders.
// configs may be nil.
func CreateTopics(t testing.TB, brokers []string, partitions int32, configs map[string]string, topics ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		t.Fatalf("make a Kafka client: %v", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	set := map[string]*string{}
	for name, value := range configs {
		set[name] = kadm.StringPtr(value)
	}
	created, err := admin.CreateTopics(ctx, partitions, 1, set, topics...)
	if err := errors.Join(err, created.Error()); err != nil {
		t.Fatalf("create topics %v: %v", topics, err)
	}
	for {
		found, err := admin.ListEndOffsets(ctx, topics...)
		if err = errors.Join(err, found.Error()); err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("wait for the leaders of topics %v: %v", topics, err)
		}
	}
}
