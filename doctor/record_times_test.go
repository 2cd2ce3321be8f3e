package doctor

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// A record without timestamp, or with seconds for milliseconds, has no known age.
func TestTimestampsThatNobodyMeant(t *testing.T) {
	brokers := kafkatest.Fake(t, 3, "t")
	now := time.Now().Truncate(time.Millisecond)
	for p, stamp := range []time.Time{time.UnixMilli(-1), time.UnixMilli(now.Unix()), now} {
		kafkatest.ProduceRecords(t, brokers, "t", int32(p), &kgo.Record{Value: []byte("v"), Timestamp: stamp})
	}
	k := &kafka{opts: []kgo.Opt{kgo.SeedBrokers(brokers...)}}
	times, err := k.readTimes(t.Context(), map[topicPartition]int64{{"t", 0}: 0, {"t", 1}: 0, {"t", 2}: 0})
	if err != nil || len(times) != 1 || !times[topicPartition{"t", 2}].Equal(now) {
		t.Errorf("times %v, %v; want that of partition 2 alone", times, err)
	}
}
