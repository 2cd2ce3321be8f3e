package ingest

import (
	"testing"

	"firstclick/internal/metrics"

	"firstclick/pipeline/rules"
)

// BenchmarkRead counts a poll of a partition, as a reader does.
func BenchmarkRead(b *testing.B) {
	m := NewMetrics(metrics.NewFactory(nil, "shop"), "clicks", "checkouts")
	var r reading
	b.ReportAllocs()
	for b.Loop() {
		m.Polled("clicks", 3, 100, 10_000, rules.Wall().UnixMicro())
		r.moved("clicks", 3, 7, 1)
	}
}
