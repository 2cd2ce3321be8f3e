package pipeline_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"firstclick/internal/kafkatest"
)

// A window over its budget pauses clicks, but not those that a run until caught up is to read: it would never end.
func TestARunUntilCaughtUpEndsWhereClicksAreOverTheBudget(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 1)))...)
	const n = 100_000
	for p := range int32(2) {
		clicks := make([][]byte, n)
		for i := range clicks {
			clicks[i] = values(click(fmt.Sprintf("%d-%d", p, i), i, "p", stamp(base, 60)))[0]
		}
		for chunk := range slices.Chunk(clicks, 20_000) {
			kafkatest.Produce(t, brokers, "clicks", p, chunk...)
		}
	}
	cfg := testConfig(t, brokers, dsn)
	cfg.MemoryLimit = 4 << 10
	if st := drain(t, cfg); st.ClicksRead < 2*n {
		t.Errorf("%d clicks read", st.ClicksRead)
	}
	if got := count(t, conn, `SELECT count(*) FROM commerce.attributed_checkouts`); got != 1 {
		t.Errorf("%d rows", got)
	}
}
