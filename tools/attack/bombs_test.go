//go:build attack

package attack

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

// Whoever may produce sends batches of some kilobytes that become a gigabyte, by every codec, to
// both topics: each is a dead letter, and what stands behind it is read.
func TestBatchBombs(t *testing.T) {
	const mib = 1 << 20
	s := begin(t, props{brokers: kafkatest.FakeCluster(t, kfake.SeedTopics(2, "clicks", "checkouts"),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "16777216"})).ListenAddrs()})
	send := func(topic string, batch *kmsg.RecordBatch) (offset int64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		offset, err := kafkatest.ProduceBatch(ctx, s.brokers, topic, 0, batch)
		if err != nil {
			t.Fatal(err)
		}
		return offset
	}
	for _, b := range []struct {
		name    string
		codec   kgo.CompressionCodecType
		becomes int64
	}{
		{"zstd", kgo.CodecZstd, 1000 * mib}, {"zstd, more than the client takes", kgo.CodecZstd, 1100 * mib}, {"gzip",
			kgo.CodecGzip, 300 * mib},
		{"lz4", kgo.CodecLz4, 300 * mib}, {"snappy", kgo.CodecSnappy, 100 * mib},
	} {
		bomb, err := kafkatest.Bomb(b.codec, b.becomes)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"clicks", "checkouts"} {
			at := send(topic, bomb)
			s.await(b.name+" is a dead letter of "+topic, func() bool {
				return s.count(`SELECT count(*) FROM firstclick.dead_letters WHERE topic = $1 AND partition = 0 AND `+
					`"offset" = $2 AND payload IS NULL AND payload_sha256 IS NOT NULL`, topic, at) == 1
			})
		}
		s.writes()
		t.Logf("%s: %d bytes; peak of resident memory %d MiB", b.name, len(bomb.Records), s.peak()>>20)
	}
	grains, err := kafkatest.Grains(kgo.CodecZstd, 1_000_000, "")
	if err != nil {
		t.Fatal(err)
	}
	send("clicks", grains)
	send("checkouts", grains)
	s.end()
}
