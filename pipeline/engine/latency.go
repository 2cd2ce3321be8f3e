package engine

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"firstclick/internal/metrics"
	"firstclick/join/event"
)

// latencyHistogram counts the seconds from a record's timestamp to the commit of its row, in
// classic buckets and in native ones of schema 3, of which bucket k ends at 2^(k/8). It takes the
// lock once for a batch and remembers the last bucket, into which the next row mostly falls. So a
// row costs about 8 ns. In client_golang's histogram it costs 40 to 100 ns, 1 to 2 % of a drain
// (docs/adr/0018-figures-at-the-event.md). Safe for concurrent use.
type latencyHistogram struct {
	desc   *prometheus.Desc
	bounds []float64 // upper ones of the classic buckets; ascending
	began  time.Time

	mu      sync.Mutex
	classic []uint64 // one more than bounds: the last has no bound
	native  map[int]*uint64
	zero    uint64 // values up to metrics.ZeroThreshold
	count   uint64
	sum     float64

	low, high           float64 // the last value's buckets hold every value in (low, high]
	inClassic, inNative *uint64 // counts of these buckets
}

const perDouble = 8 // native buckets to a power of two: schema 3

func newLatencyHistogram(desc *prometheus.Desc, bounds ...float64) *latencyHistogram {
	return &latencyHistogram{
		desc: desc, bounds: bounds, began: time.Now(),
		classic: make([]uint64, len(bounds)+1), native: map[int]*uint64{}, low: math.Inf(1),
	}
}

// committed counts rows that were committed at now, in microseconds since the epoch. A row whose
// record has no timestamp does not count.
func (h *latencyHistogram) committed(rows []event.Released, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range rows {
		if t := rows[i].RecordTime; t != event.NoTime {
			h.add(float64(max(now-t, 0)) / 1e6)
		}
	}
}

// add counts a value that is not negative. mu is held.
func (h *latencyHistogram) add(v float64) {
	if !(v > h.low && v <= h.high) {
		h.find(v)
	}
	*h.inClassic++
	*h.inNative++
	h.count++
	h.sum += v
}

// find finds the buckets of v.
func (h *latencyHistogram) find(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v)
	h.inClassic, h.low, h.high = &h.classic[i], math.Inf(-1), math.Inf(1)
	if i > 0 {
		h.low = h.bounds[i-1]
	}
	if i < len(h.bounds) {
		h.high = h.bounds[i]
	}
	if v <= metrics.ZeroThreshold {
		h.inNative, h.high = &h.zero, min(h.high, metrics.ZeroThreshold)
		return
	}
	key := int(math.Ceil(math.Log2(v) * perDouble))
	if h.native[key] == nil {
		h.native[key] = new(uint64)
	}
	h.inNative = h.native[key]
	h.low = max(h.low, math.Exp2(float64(key-1)/perDouble), metrics.ZeroThreshold)
	h.high = min(h.high, math.Exp2(float64(key)/perDouble))
}

// Total returns how many rows were counted, and the sum of their latencies.
func (h *latencyHistogram) Total() (rows int64, sum time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(h.count), time.Duration(h.sum * float64(time.Second))
}

// Describe is part of prometheus.Collector.
func (h *latencyHistogram) Describe(to chan<- *prometheus.Desc) { to <- h.desc }

// Collect is part of prometheus.Collector.
func (h *latencyHistogram) Collect(to chan<- prometheus.Metric) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, cumulative, native := classicToo{}, uint64(0), map[int]int64{}
	for i, n := range h.classic {
		cumulative += n
		bound, total := math.Inf(1), cumulative
		if i < len(h.bounds) {
			bound = h.bounds[i]
		}
		m.buckets = append(m.buckets, &dto.Bucket{UpperBound: &bound, CumulativeCount: &total})
	}
	for key, n := range h.native {
		native[key] = int64(*n)
	}
	var err error
	m.Metric, err = prometheus.NewConstNativeHistogram(h.desc, h.count, h.sum, native, nil, h.zero,
		3, metrics.ZeroThreshold, h.began)
	if err != nil {
		m.Metric = prometheus.NewInvalidMetric(h.desc, err)
	}
	to <- m
}

// classicToo adds classic buckets to a native histogram.
type classicToo struct {
	prometheus.Metric
	buckets []*dto.Bucket
}

func (m classicToo) Write(out *dto.Metric) error {
	err := m.Metric.Write(out)
	if err == nil {
		out.Histogram.Bucket = m.buckets
	}
	return err
}
