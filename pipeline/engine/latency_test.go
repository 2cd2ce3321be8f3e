package engine

import (
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"firstclick/internal/metrics"
	"firstclick/join/event"
)

func recordedAt(t int64) event.Released {
	return event.Released{Checkout: &event.Checkout{RecordTime: t}}
}

// The latency's buckets are those that Prometheus' own library would count in.
func TestLatencyIsThatOfPrometheus(t *testing.T) {
	bounds := []float64{0.001, 0.0025, 0.5, 1, 60}
	value := rapid.OneOf(rapid.Int64Range(0, 3e6), rapid.Int64Range(0, 2e15),
		rapid.SampledFrom([]int64{0, 976, 977, 1000, 500_000, 1e6, 2e6, 60e6}))
	rapid.Check(t, func(t *rapid.T) {
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "latency", Buckets: bounds, NativeHistogramBucketFactor: 1.1,
			NativeHistogramZeroThreshold: metrics.ZeroThreshold,
		})
		ours := newLatencyHistogram(metrics.NewFactory(nil, "shop").Desc("latency", ""), bounds...)
		const now = 3e15
		rows := []event.Released{recordedAt(event.NoTime), recordedAt(now + 1)} // none; a clock that is behind
		theirs.Observe(0)
		for _, v := range rapid.SliceOfN(value, 1, 50).Draw(t, "microseconds") {
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				theirs.Observe(float64(v) / 1e6)
				rows = append(rows, recordedAt(now-v))
			}
		}
		ours.committed(rows, now)
		want, got := written(t, theirs), written(t, ours)
		if math.Abs(got.GetSampleSum()-want.GetSampleSum()) > 1e-9*(1+got.GetSampleSum()) {
			t.Fatalf("sum %v, want %v", got.GetSampleSum(), want.GetSampleSum())
		}
		if n := len(got.Bucket); n != len(bounds)+1 || got.Bucket[n-1].GetCumulativeCount() != got.GetSampleCount() {
			t.Fatalf("buckets %v", got.Bucket)
		}
		got.Bucket = got.Bucket[:len(bounds)] // theirs leave +Inf to whoever writes them
		got.SampleSum, got.CreatedTimestamp = want.SampleSum, want.CreatedTimestamp
		if !proto.Equal(want, got) {
			t.Fatalf("\n%v, want\n%v", got, want)
		}
	})
}

func written(t *rapid.T, c prometheus.Collector) *dto.Histogram {
	to := make(chan prometheus.Metric, 1)
	c.Collect(to)
	out := &dto.Metric{}
	if err := (<-to).Write(out); err != nil {
		t.Fatal(err)
	}
	return out.Histogram
}
