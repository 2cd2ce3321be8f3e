package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"firstclick/internal/histogram"
)

type histogramValue = histogram.Snapshot

// histogramMetric shows classic buckets and native ones of the same histogram: a server takes those that it is set to take.
type histogramMetric struct {
	desc *prometheus.Desc
	at   histogramValue
}

// Desc is for the registry.
func (h *histogramMetric) Desc() *prometheus.Desc { return h.desc }

// Write is for the registry. The label is that of the collector.
func (h *histogramMetric) Write(out *dto.Metric) error {
	// The constant labels are the descriptor's: a constant metric knows how to write them.
	if err := prometheus.MustNewConstHistogram(h.desc, h.at.Count, h.at.Sum, nil).Write(out); err != nil {
		return err
	}
	to := out.Histogram
	total := uint64(0)
	for i, n := range h.at.Counts {
		total += n
		bound := math.Inf(1)
		if i < len(h.at.Bounds) {
			bound = h.at.Bounds[i]
		}
		to.Bucket = append(to.Bucket, &dto.Bucket{UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(total)})
	}
	to.Schema, to.ZeroThreshold, to.ZeroCount = proto.Int32(histogram.Schema), proto.Float64(histogram.ZeroThreshold), proto.Uint64(h.at.Zero)
	next, before := 0, int64(0)
	for i, b := range h.at.Native {
		if i == 0 || b.Key != next { // the offset is from the end of the span before; of the first one, from 0
			to.PositiveSpan = append(to.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(int32(b.Key - next)), Length: proto.Uint32(0)})
		}
		*to.PositiveSpan[len(to.PositiveSpan)-1].Length++
		to.PositiveDelta = append(to.PositiveDelta, int64(b.Count)-before)
		next, before = b.Key+1, int64(b.Count)
	}
	return nil
}
