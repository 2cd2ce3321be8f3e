package pipeline_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

// unled takes the leader of a partition away: every request to it fails.
func unled(cluster *kfake.Cluster, topic string, partition int32) *kfake.FaultHandle {
	return cluster.Fault(kfake.Fault{
		Keys:  []kmsg.Key{kmsg.ListOffsets, kmsg.Fetch, kmsg.OffsetForLeaderEpoch},
		Topic: topic, Partitions: []int32{partition}, Err: kerr.LeaderNotAvailable, Count: -1,
	})
}

func rowOf(t *testing.T, conn *pgx.Conn, id string) func() bool {
	return func() bool {
		return countRows(t, conn, `checkout_id = $1`, id) == 1
	}
}

// A checkouts partition without a leader stops its own shard only. The others go on, also when an
// instance begins meanwhile.
func TestACheckoutsPartitionWithoutLeader(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "clicks"),
		kfake.SeedTopics(3, "checkouts"))
	brokers := cluster.ListenAddrs()
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	at := time.Now().Add(-time.Minute)
	buy := func(id string, partition int32) {
		kafkatest.Produce(t, brokers, "clicks", 0, values(click("c-"+id, 1, "p-"+id, stamp(at, 1)))...)
		kafkatest.Produce(t, brokers, "checkouts", partition, values(checkout(id, 1, "p-"+id, "1", stamp(at, 2)))...)
	}
	p := begin(t, cfg)
	for partition, id := range []string{"a0", "a1", "a2"} {
		buy(id, int32(partition))
		eventually(t, "a row of each shard", rowOf(t, conn, id))
	}
	down := unled(cluster, "checkouts", 0)
	buy("b0", 0)
	for round, id := range []string{"b1", "c1", "d1"} {
		buy(id, int32(1+round%2))
		eventually(t, "a row of a shard whose partition has a leader", rowOf(t, conn, id))
	}
	p.end()
	p = begin(t, cfg)
	buy("e2", 2)
	eventually(t, "a row after a restart", rowOf(t, conn, "e2"))
	if rowOf(t, conn, "b0")() {
		t.Error("a row came from a partition without leader")
	}
	down.Remove()
	eventually(t, "the row of the partition that has a leader again", rowOf(t, conn, "b0"))
	p.end()
	if n := countRows(t, conn, `click_id = 'c-' || checkout_id`); n != 8 {
		t.Errorf("%d of 8 rows have their click", n)
	}
}

// Nobody knows what a clicks partition without a leader holds: every checkout waits for it, and
// none loses its click.
func TestAClicksPartitionWithoutLeader(t *testing.T) {
	cluster := kafkatest.FakeCluster(t, kfake.NumBrokers(3), kfake.SeedTopics(2, "clicks"),
		kfake.SeedTopics(2, "checkouts"))
	brokers := cluster.ListenAddrs()
	dsn, conn := prepare(t, 10)
	log := &heard{}
	cfg := testConfig(t, brokers, dsn)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	at := time.Now().Add(-time.Minute)
	p := begin(t, cfg)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("a", 1, "p", "1", stamp(at, 2)))...)
	eventually(t, "the first row", rowOf(t, conn, "a"))
	down := unled(cluster, "clicks", 1)
	eventually(t, "word of it", func() bool { return log.has("checkouts wait") })
	kafkatest.Produce(t, brokers, "clicks", 1, values(click("c", 1, "q", stamp(at, 1)))...)
	kafkatest.Produce(t, brokers, "checkouts", 1, values(checkout("b", 1, "q", "1", stamp(at, 2)))...)
	lag := func() bool {
		return len(p.Stats().Shards) == 2 && p.Stats().Shards[1].End == 1 && p.Stats().Shards[1].Queued == 1
	}
	eventually(t, "the checkout to wait, and its partition's end to be known", lag)
	if rowOf(t, conn, "b")() {
		t.Error("a row was written although a clicks partition could not be read")
	}
	down.Remove()
	eventually(t, "the row", rowOf(t, conn, "b"))
	p.end()
	if n := countRows(t, conn, `click_id = 'c'`); n != 1 || p.Stats().Result.Corrected != 0 {
		t.Errorf("%d rows have the click, %d were corrected: released before the click was read", n,
			p.Stats().Result.Corrected)
	}
}
