package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

// A window over its budget pauses clicks, but not those that a run until caught up must read: it
// would never end.
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
	if got := countRows(t, conn, `true`); got != 1 {
		t.Errorf("%d rows", got)
	}
}

// Many records of the largest size come while Postgres does not write. What waits is bounded by
// bytes, not only by number. All of it is written when Postgres works again.
func TestLargeRecordsWaitInKafka(t *testing.T) {
	const n, size = 60, 900_000
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	long := strings.Repeat("x", size)
	var clicks, checkouts [][]byte
	for i := range n {
		clicks = append(clicks, []byte(`{"click_id": "`+long))
		checkouts = append(checkouts, []byte(strings.Replace(checkout(fmt.Sprintf("k%d", i), 1, "p", "1",
			stamp(base, 1)), "JCB", long, 1)))
	}
	for from := 0; from < n; from += 10 { // what a batch may hold
		kafkatest.Produce(t, brokers, "clicks", 0, clicks[from:from+10]...)
		kafkatest.Produce(t, brokers, "checkouts", 0, checkouts[from:from+10]...)
	}
	cfg := testConfig(t, brokers, dsn)
	cfg.MemoryLimit = 64 << 20

	lock, err := connect(t, dsn).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), `LOCK TABLE commerce.attributed_checkouts,
		firstclick.dead_letters`); err != nil {
		t.Fatal(err)
	}
	p := begin(t, cfg)
	var st pipeline.Stats
	eventually(t, "the shard pauses", func() bool {
		st = p.Stats()
		return len(st.Shards) == 1 && st.Shards[0].Paused && st.ClicksRead > 0
	})
	// A queue and two batches of 4 MiB, each with one fetch more at most. For clicks: 4 MiB of dead
	// letters, and a fetch.
	if st.CheckoutsRead*size > 40<<20 || st.ClicksRead*size > 20<<20 {
		t.Errorf("%d checkouts and %d clicks of %d bytes were read while nothing could be written", st.CheckoutsRead,
			st.ClicksRead, size)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all rows and dead letters", func() bool {
		return countRows(t, conn, `length(payment_method) > $1`, size) == n &&
			countLetters(t, conn, `payload_size > $1`, size) == n
	})
}
