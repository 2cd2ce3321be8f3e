package kafkatest_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"firstclick/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	if got, want := fmt.Sprint(kafkatest.Consume(t, brokers, "clicks", 2, 4)), "[a  c d]"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}
