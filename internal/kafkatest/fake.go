package kafkatest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Fake runs a fake cluster of one broker that has the topics, and returns its addresses. It closes
// when the test ends.
func Fake(t testing.TB, partitions int32, topics ...string) (brokers []string) {
	t.Helper()
	return FakeCluster(t, kfake.SeedTopics(partitions, topics...)).ListenAddrs()
}

// FakeCluster runs a fake cluster, of one broker unless an option says otherwise, for tests that
// need control functions, TLS or several brokers. It closes when the test ends.
func FakeCluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatalf("start a fake Kafka cluster: %v", err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}
