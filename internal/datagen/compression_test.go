package datagen

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
)

// The low three bits of a batch's attributes (https://kafka.apache.org/documentation/#recordbatch).
func TestBatchesAreCompressedAsAsked(t *testing.T) {
	for name, want := range map[string]kgo.CompressionCodecType{
		"": kgo.CodecNone, "none": kgo.CodecNone, "gzip": kgo.CodecGzip, "snappy": kgo.CodecSnappy,
		"lz4": kgo.CodecLz4, "zstd": kgo.CodecZstd,
	} {
		t.Run("codec "+name, func(t *testing.T) {
			cluster := kafkatest.FakeCluster(t, kfake.SeedTopics(1, "clicks", "checkouts"))
			var mu sync.Mutex
			got := map[kgo.CompressionCodecType]int{}
			cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				mu.Lock()
				defer mu.Unlock()
				for _, topic := range req.(*kmsg.ProduceRequest).Topics {
					for _, p := range topic.Partitions {
						var batch kmsg.RecordBatch
						if err := batch.ReadFrom(p.Records); err != nil {
							t.Errorf("read record batch: %v", err)
							continue
						}
						got[kgo.CompressionCodecType(batch.Attributes&7)]++
					}
				}
				return nil, nil, false
			})
			_, err := Run(
				t.Context(),
				Config{
					Kafka:       kafkaconn.Config{Brokers: cluster.ListenAddrs()},
					Count:       2_000,
					Seed:        1,
					Compression: name,
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(got) != 1 || got[want] == 0 {
				t.Errorf("batches by codec: %v, want %v only", got, want)
			}
		})
	}
}
