package engine

import (
	"fmt"
	"testing"
	"time"

	"firstclick/internal/metrics"

	"firstclick/join/event"
	"firstclick/pipeline/rules"
	"firstclick/pipeline/sink"
)

// BenchmarkCommitted counts a transaction of so many rows, as a committer does.
func BenchmarkCommitted(b *testing.B) {
	for _, rows := range []int{10, 8192} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			batch := &sink.Batch{}
			for i := range rows {
				batch.Rows = append(batch.Rows,
					event.Released{Checkout: &event.Checkout{RecordTime: rules.Wall().UnixMicro() - int64(i)*1000}})
			}
			m, r := NewMetrics(metrics.NewFactory(nil, "shop"), "clicks", "checkouts"), sink.Result{Fresh: int64(rows)}
			b.ReportAllocs()
			for b.Loop() {
				m.committed("checkouts", []*sink.Batch{batch}, &r, time.Second)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
		})
	}
}
