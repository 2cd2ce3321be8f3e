package kafkatest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce writes values without keys to a partition, in order, acknowledged by all replicas, and
// returns the offset of the first. A nil value is a record without a value. Without values it
// returns -1.
func Produce(t testing.TB, brokers []string, topic string, partition int32, values ...[]byte) (first int64) {
	t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Value: v}
	}
	return ProduceRecords(t, brokers, topic, partition, records...)
}

// ProduceRecords is Produce for records with keys, timestamps or headers; topic and partition are
// set here.
func ProduceRecords(t testing.TB, brokers []string, topic string, partition int32,
	records ...*kgo.Record) (first int64) {
	t.Helper()
	if len(records) == 0 {
		return -1
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchMaxBytes(16<<20), kgo.BrokerMaxWriteBytes(100<<20))
	if err != nil {
		t.Fatalf("make a Kafka client: %v", err)
	}
	defer client.Close()
	for _, r := range records {
		r.Topic, r.Partition = topic, partition
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("produce to %s/%d: %v", topic, partition, err)
	}
	return records[0].Offset
}
