package pipeline

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"firstclick/join/window"
)

// busy is a pipeline with many partitions, whose state is known.
type busy struct{ partitions int }

func (b busy) Stats() Stats {
	now := time.Now()
	st := Stats{
		ClicksTopic: "clicks", CheckoutsTopic: "checkouts", WindowBudget: 1 << 30,
		Server:  ServerProbe{At: now, OK: true},
		Started: now.Add(-time.Hour),
		Status: Status{
			At: now, EndsAt: now, CommittedAt: now, Ready: true, Watermark: now.UnixMicro(),
			Window: window.Stats{Clicks: 1e6, Bytes: 5e7, Buckets: 76, Oldest: now.Add(-time.Hour).UnixMicro()},
		},
	}
	st.Users.Connected, st.Users.LastMessageTime = true, now
	for p := range b.partitions {
		at := now.Add(-time.Minute).UnixMicro()
		st.Clicks = append(st.Clicks, PartitionStats{Next: 100, End: 200, MaxTime: at, RecordTime: at})
		st.Shards = append(st.Shards, ShardStats{Partition: int32(p), Next: 5, Committed: 4, End: 5, Time: at,
			RecordTime: at, FinalBefore: at})
	}
	return st
}

func (b busy) Health() []Check {
	return []Check{{Name: "kafka"}, {Name: "postgres", Err: errors.New("gone")}}
}

func scrape(t testing.TB, r *prometheus.Registry) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestWhatIsShown(t *testing.T) {
	text := scrape(t, ours(t, 2))
	for _, line := range []string{
		`firstclick_lag_records{group="shop",partition="1",topic="clicks"} 100`,
		`firstclick_lag_records{group="shop",partition="0",topic="checkouts"} 1`,
		`firstclick_dead_letters_total{group="shop",reason="future",topic="clicks"} 0`,
		`firstclick_postgres_retries_total{cause="connection",group="shop"} 0`,
		`firstclick_healthy{check="postgres",group="shop"} 0`,
		`firstclick_window_budget_bytes{group="shop"} 1.073741824e+09`,
		`firstclick_latency_seconds_bucket{group="shop",le="+Inf"}`,
		`firstclick_rows_total{group="shop",outcome="attributed"} 0`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("missing: %s", line)
		}
	}
}

// A scrape of 64 partitions a topic costs 2 to 3 ms (BenchmarkScrape). The test checks the order of
// magnitude: processor time, the best of many scrapes, with room for a garbage collection and other
// load.
func TestScrapeIsCheap(t *testing.T) {
	r := ours(t, 64)
	best := time.Hour
	for range 50 {
		began := cpu(t)
		scrape(t, r)
		best = min(best, cpu(t)-began)
	}
	t.Logf("%v", best)
	limit := 25 * time.Millisecond
	if raced {
		limit *= 20
	}
	if best > limit {
		t.Errorf("a scrape costs %v, more than %v", best, limit)
	}
}

// cpu is the processor time of this process so far.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkScrape(b *testing.B) {
	r := ours(b, 64)
	b.ReportAllocs()
	for b.Loop() {
		scrape(b, r)
	}
}
