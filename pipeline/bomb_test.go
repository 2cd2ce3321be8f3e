package pipeline_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

func produceBatch(t *testing.T, brokers []string, topic string, batch *kmsg.RecordBatch) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, err := kafkatest.ProduceBatch(ctx, brokers, topic, 0, batch)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// A batch that decompresses to more than the limit, or that its codec cannot read, becomes a dead
// letter with place, size and hash. The records before and after it are read, also after a restart.
func TestBatchesThatCannotBeRead(t *testing.T) {
	bomb := func(codec kgo.CompressionCodecType, becomes int64) *kmsg.RecordBatch {
		b, err := kafkatest.Bomb(codec, becomes)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.FakeCluster(t, kfake.SeedTopics(2, "clicks", "checkouts"),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "8388608"})).ListenAddrs()
	dsn, conn := prepare(t, 10)
	batches := []*kmsg.RecordBatch{
		bomb(kgo.CodecGzip, 64<<20), bomb(kgo.CodecLz4, 64<<20), bomb(kgo.CodecZstd, 1100<<20),
		bomb(kgo.CodecSnappy, 64<<20),
		kafkatest.Rubble(kgo.CodecGzip, 7), kafkatest.Rubble(kgo.CodecZstd, 3), kafkatest.Rubble(kgo.CodecLz4, 1),
		kafkatest.Rubble(kgo.CodecSnappy, 2),
	}
	type place struct {
		topic  string
		offset int64
		size   int
	}
	var want []place
	good := 0
	write := func() {
		kafkatest.Produce(t, brokers, "clicks", 0, values(click(fmt.Sprintf("c%d", good), 1, fmt.Sprint(good),
			stamp(base, 0)))...)
		kafkatest.Produce(t, brokers, "checkouts", 0,
			values(checkout(fmt.Sprintf("k%d", good), 1, fmt.Sprint(good), "1", stamp(base, 1)))...)
		good++
	}
	write()
	for i, b := range batches {
		for _, topic := range []string{"clicks", "checkouts"} {
			want = append(want, place{topic, produceBatch(t, brokers, topic, b), len(b.Records)})
		}
		if i%3 > 0 { // one alone, and two that follow each other
			write()
		}
	}
	check := func() {
		t.Helper()
		if n := countRows(t, conn, `click_id = 'c' || product_id`); n != int64(good) {
			t.Errorf("%d rows with their click, want %d", n, good)
		}
		for _, p := range want {
			if n := countLetters(t, conn, `topic = $1 AND partition = 0 AND "offset" = $2 AND reason = 'unreadable'
				AND payload IS NULL AND payload_size = $3
					AND payload_sha256 IS NOT NULL`, p.topic, p.offset, p.size); n != 1 {
				t.Errorf("%d dead letters for %v", n, p)
			}
		}
		if n := countLetters(t, conn, `true`); n != int64(len(want)) {
			t.Errorf("%d dead letters, want %d", n, len(want))
		}
	}
	cfg := testConfig(t, brokers, dsn)
	cfg.MemoryLimit = 256 << 20
	drain(t, cfg)
	check()
	write()
	drain(t, cfg) // the recent checkouts are read again
	check()
}

// Batches that grow a hundredfold when decompressed, each within the limit, are read a few at a
// time.
func TestManyBatchesThatGrowAreReadAFewAtATime(t *testing.T) {
	const n, becomes = 40, 20 << 20
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	b, err := kafkatest.Bomb(kgo.CodecZstd, becomes)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		produceBatch(t, brokers, "clicks", b)
		produceBatch(t, brokers, "checkouts", b)
	}
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c", 1, "p", stamp(base, 0)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 1)))...)
	cfg := testConfig(t, brokers, dsn)
	cfg.MemoryLimit = 256 << 20
	drain(t, cfg)
	if got := countRows(t, conn, `click_id = 'c'`); got != 1 {
		t.Errorf("%d rows", got)
	}
	if got := countLetters(t, conn, `reason = 'too_large' AND payload_size = $1`, becomes); got != 2*n {
		t.Errorf("%d dead letters, want %d", got, 2*n)
	}
}
