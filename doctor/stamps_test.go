package doctor

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// A record without timestamp, or with seconds for milliseconds, is not fifty years old: how old it is nobody knows.
func TestTimestampsThatNobodyMeant(t *testing.T) {
	brokers := kafkatest.Fake(t, 3, "t")
	now := time.Now().Truncate(time.Millisecond)
	for p, stamp := range []time.Time{time.UnixMilli(-1), time.UnixMilli(now.Unix()), now} {
		kafkatest.ProduceRecords(t, brokers, "t", int32(p), &kgo.Record{Value: []byte("v"), Timestamp: stamp})
	}
	k := &kafka{opts: []kgo.Opt{kgo.SeedBrokers(brokers...)}}
	times, err := k.recordTimes(t.Context(), map[place]int64{{"t", 0}: 0, {"t", 1}: 0, {"t", 2}: 0})
	if err != nil || len(times) != 1 || !times[place{"t", 2}].Equal(now) {
		t.Errorf("times %v, %v; want that of partition 2 alone", times, err)
	}
}
