package pipeline_test

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// BenchmarkPoisonFlood sends bad records to both topics at a pace, FIRSTCLICK_PACE records a second
// (16,000), for so many ticks of 100 ms, and good ones between them. It measures how late good rows
// are and how many letters are written a second.
func BenchmarkPoisonFlood(b *testing.B) {
	pace := 16_000
	if v := os.Getenv("FIRSTCLICK_PACE"); v != "" {
		pace, _ = strconv.Atoi(v)
	}
	brokers := kafkatest.Fake(b, 2, "clicks", "checkouts")
	dsn, conn := prepare(b, 10)
	cfg := testConfig(b, brokers, dsn)
	cfg.MemoryLimit = 256 << 20
	registry := prometheus.NewRegistry()
	cfg.Registry = registry
	w := begin(b, cfg)
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	bad := []byte(`{"click_id": "` + fmt.Sprintf("%0280d", 0) + `", `)
	var wg sync.WaitGroup
	send := func(topic string, n int, value []byte) {
		wg.Add(1)
		cl.Produce(b.Context(), &kgo.Record{Topic: topic, Partition: int32(n % 2), Value: value,
			Timestamp: time.Now()}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	send("clicks", 0, []byte(click("c", 1, "p", stamp(time.Now(), -1))))
	wg.Wait()
	begun := time.Now()
	good := 0
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for b.Loop() {
		<-ticker.C
		for i := range pace / 10 {
			send([]string{"clicks", "checkouts"}[i/2%2], i, bad)
		}
		for range 20 {
			send("checkouts", good, []byte(checkout(fmt.Sprintf("k%d", good), 1, "p", "1", stamp(time.Now(), 0))))
			good++
		}
	}
	wg.Wait()
	sent := time.Since(begun)
	eventually(b, "all rows are written", func() bool {
		return countRows(b, conn, `true`) == int64(good) && w.caughtUp()
	})
	eventually(b, "all letters are written", func() bool {
		return countLetters(b, conn, `true`) == int64(b.N*(pace/10))
	})
	b.ReportMetric(float64(b.N*(pace/10))/time.Since(begun).Seconds(), "letters/s")
	b.ReportMetric(float64(b.N*(pace/10))/sent.Seconds(), "sent/s")
	latency := shown(b, registry, "firstclick_latency_seconds").Histogram
	b.ReportMetric(quantile(latency, .5), "p50-s")
	b.ReportMetric(quantile(latency, .99), "p99-s")
	b.ReportMetric(quantile(latency, 1), "max-s")
	b.ReportMetric(0, "ns/op")
}

// quantile is the upper bound of the native bucket of schema 3 that holds the quantile.
func quantile(h *dto.Histogram, q float64) float64 {
	seen, key, n, i := float64(h.GetZeroCount()), 0, int64(0), 0
	if q*float64(h.GetSampleCount()) <= seen {
		return 0
	}
	for _, span := range h.PositiveSpan {
		key += int(span.GetOffset())
		for range span.GetLength() {
			n += h.PositiveDelta[i]
			seen += float64(n)
			if q*float64(h.GetSampleCount()) <= seen {
				return math.Exp2(float64(key) / 8)
			}
			i, key = i+1, key+1
		}
	}
	return math.NaN()
}
