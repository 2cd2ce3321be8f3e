package histogram_test

import (
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"

	"firstclick/internal/histogram"
)

// Buckets are those that Prometheus' own library would count in.
func TestBucketsAreThoseOfPrometheus(t *testing.T) {
	bounds := []float64{0.001, 0.0025, 0.5, 1, 60}
	rapid.Check(t, func(t *rapid.T) {
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "theirs", Buckets: bounds, NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: histogram.ZeroThreshold,
		})
		ours := histogram.New(bounds...)
		value := rapid.OneOf(rapid.Float64Range(0, 3), rapid.Float64Range(0, 1<<26), rapid.SampledFrom([]float64{0, 1.0 / 1024, 0.001, 0.5, 1, 2, 60, 1 << 26}))
		for _, v := range rapid.SliceOfN(value, 1, 50).Draw(t, "values") {
			theirs.Observe(v)
			ours.Observe(v)
		}
		var m dto.Metric
		if err := theirs.Write(&m); err != nil {
			t.Fatal(err)
		}
		want, got := m.Histogram, ours.Snapshot()
		if want.GetSchema() != histogram.Schema || got.Count != want.GetSampleCount() || got.Zero != want.GetZeroCount() {
			t.Fatalf("schema %d, count %d, zero %d; want %d, %d, %d", histogram.Schema, got.Count, got.Zero, want.GetSchema(), want.GetSampleCount(), want.GetZeroCount())
		}
		if math.Abs(got.Sum-want.GetSampleSum()) > 1e-9*(1+got.Sum) {
			t.Fatalf("sum %v, want %v", got.Sum, want.GetSampleSum())
		}
		total := uint64(0)
		for i := range bounds {
			total += got.Counts[i]
			if total != want.Bucket[i].GetCumulativeCount() {
				t.Fatalf("up to %v: %d, want %d", bounds[i], total, want.Bucket[i].GetCumulativeCount())
			}
		}
		spread := map[int]uint64{}
		key, delta, count := 0, 0, int64(0)
		for _, span := range want.PositiveSpan {
			key += int(span.GetOffset())
			for range span.GetLength() {
				count += want.PositiveDelta[delta]
				if count > 0 {
					spread[key] = uint64(count)
				}
				delta++
				key++
			}
		}
		if len(spread) != len(got.Native) {
			t.Fatalf("native %v, want %v", got.Native, spread)
		}
		for _, b := range got.Native {
			if spread[b.Key] != b.Count {
				t.Fatalf("native %v, want %v", got.Native, spread)
			}
		}
	})
}

func TestQuantileAndSince(t *testing.T) {
	h := histogram.New(1)
	if s := h.Snapshot(); !math.IsNaN(s.Quantile(0.5)) {
		t.Error("a quantile of nothing")
	}
	h.Batch(func(add func(float64, uint64)) { add(-1, 1); add(math.NaN(), 1); add(0.25, 8) })
	before := h.Snapshot()
	if got := before.Quantile(0.5); got < 0.25 || got > 0.25*1.1 {
		t.Errorf("median %v, want 0.25", got)
	}
	if got := before.Quantile(0.1); got != 0 {
		t.Errorf("first tenth %v, want 0", got)
	}
	h.Batch(func(add func(float64, uint64)) { add(1<<30, 3); add(0.25, 1) })
	after := h.Snapshot()
	d := after.Since(&before)
	if d.Count != 4 || len(d.Native) != 2 || d.Native[0].Count != 1 || d.Native[1].Count != 3 || d.Counts[0] != 1 || d.Counts[1] != 3 {
		t.Errorf("since: %+v", d)
	}
	if got := d.Quantile(1); got != 1<<26 {
		t.Errorf("greatest %v, want the last bucket's bound", got)
	}
}

func BenchmarkBatch(b *testing.B) {
	h := histogram.New(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300)
	b.ReportAllocs()
	for b.Loop() {
		h.Batch(func(add func(float64, uint64)) {
			for i := range 1000 {
				add(float64(i)*0.0005, 1)
			}
		})
	}
}
