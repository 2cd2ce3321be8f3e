package kafkatest_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"firstclick/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// consume reads n values of a partition from its start.
func consume(t *testing.T, brokers []string, topic string, partition int32, n int) (values []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for len(values) < n {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestFakeKeepsWhatIsProduced(t *testing.T) {
	brokers := kafkatest.Fake(t, 3, "clicks", "checkouts")
	if first := kafkatest.Produce(t, brokers, "clicks", 2, []byte("a"), nil, []byte("c")); first != 0 {
		t.Errorf("first offset %d", first)
	}
	if first := kafkatest.Produce(t, brokers, "clicks", 2, []byte("d")); first != 3 {
		t.Errorf("offset of the fourth %d", first)
	}
	if first := kafkatest.Produce(t, brokers, "checkouts", 0); first != -1 {
		t.Errorf("offset of nothing %d", first)
	}
	if got, want := fmt.Sprint(consume(t, brokers, "clicks", 2, 4)), "[a  c d]"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}
