package pipeline

import (
	"fmt"
	"testing"
	"time"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// BenchmarkCommitted counts a transaction of so many rows, as a committer does after each.
func BenchmarkCommitted(b *testing.B) {
	for _, rows := range []int{10, 8192} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			batch := &sink.Batch{}
			for i := range rows {
				batch.Rows = append(batch.Rows, event.Released{Checkout: &event.Checkout{RecordTime: wall().UnixMicro() - int64(i)*1000}})
			}
			m, l, r := newEngineMetrics(newFactory(nil, "shop"), "clicks", "checkouts"), latest{}, sink.Result{Fresh: int64(rows)}
			b.ReportAllocs()
			for b.Loop() {
				l.written([]*sink.Batch{batch})
				m.committed("checkouts", []*sink.Batch{batch}, &r, time.Second)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
		})
	}
}

// BenchmarkRead counts what a poll brought of a partition, as a reader does.
func BenchmarkRead(b *testing.B) {
	m := newIngestMetrics(newFactory(nil, "shop"), "clicks", "checkouts")
	var r reading
	b.ReportAllocs()
	for b.Loop() {
		m.polled("clicks", 3, 100, 10_000, wall().UnixMicro())
		r.moved("clicks", 3, 7, 1)
	}
}
