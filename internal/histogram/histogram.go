package histogram

import (
	"math"
	"slices"
	"sync"
)

const (
	// Schema is that of the native buckets: the number k holds values v with 2^((k-1)/8) < v <= 2^(k/8).
	Schema = 3
	// ZeroThreshold is the greatest value that counts as zero: about a thousandth.
	ZeroThreshold = 1.0 / 1024

	perDouble = 1 << Schema
	lowest    = -10*perDouble + 1 // the first native bucket above ZeroThreshold
	highest   = 26 * perDouble    // 2^26 s are two years; what is greater counts there
)

// Histogram is safe for concurrent use.
type Histogram struct {
	bounds []float64
	splits [perDouble]float64 // of [0.5, 1), where native buckets end

	mu      sync.Mutex
	classic []uint64 // one more than bounds: the last has no bound
	native  [highest - lowest + 1]uint64
	zero    uint64
	count   uint64
	sum     float64
}

// New makes a histogram with these upper bounds of classic buckets, ascending.
func New(bounds ...float64) *Histogram {
	h := &Histogram{bounds: bounds, classic: make([]uint64, len(bounds)+1)}
	for i := range h.splits {
		h.splits[i] = math.Exp2(float64(i)/perDouble - 1)
	}
	return h
}

// Observe counts a value. One that is negative or no number counts as zero.
func (h *Histogram) Observe(v float64) {
	h.Batch(func(add func(v float64, n uint64)) { add(v, 1) })
}

// Batch lets fn count many values under one lock: add counts v n times.
func (h *Histogram) Batch(fn func(add func(v float64, n uint64))) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn(h.add)
}

func (h *Histogram) add(v float64, n uint64) {
	if !(v > 0) {
		v = 0
	}
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.classic[i] += n
	if v <= ZeroThreshold {
		h.zero += n
	} else {
		h.native[h.key(v)-lowest] += n
	}
	h.count += n
	h.sum += v * float64(n)
}

// key is the number of the native bucket that holds v, which is above ZeroThreshold.
func (h *Histogram) key(v float64) int {
	if v > 1<<26 {
		return highest
	}
	fraction, exponent := math.Frexp(v)
	i, _ := slices.BinarySearch(h.splits[:], fraction)
	return i + (exponent-1)*perDouble
}

// Bucket is a native bucket that is not empty.
type Bucket struct {
	Key   int
	Count uint64
}

// Snapshot is a histogram at one moment.
type Snapshot struct {
	Count  uint64
	Sum    float64
	Bounds []float64 // of the classic buckets
	Counts []uint64  // of the classic buckets, each by itself, the last without a bound
	Zero   uint64    // values up to ZeroThreshold, natively
	Native []Bucket  // ascending
}

// Snapshot copies what has been counted.
func (h *Histogram) Snapshot() Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Snapshot{Count: h.count, Sum: h.sum, Bounds: h.bounds, Counts: slices.Clone(h.classic), Zero: h.zero}
	for i, n := range h.native {
		if n > 0 {
			s.Native = append(s.Native, Bucket{Key: i + lowest, Count: n})
		}
	}
	return s
}

// Quantile estimates the value below which the share q (0..1) of all lies, to 9 %. It is NaN while there are none.
func (s *Snapshot) Quantile(q float64) float64 {
	if s.Count == 0 {
		return math.NaN()
	}
	rank := q * float64(s.Count)
	seen := float64(s.Zero)
	if rank <= seen {
		return 0
	}
	for _, b := range s.Native {
		seen += float64(b.Count)
		if rank <= seen {
			return math.Exp2(float64(b.Key) / perDouble)
		}
	}
	return math.Exp2(float64(highest) / perDouble)
}

// Since is what has been counted after before was taken of the same histogram.
func (s *Snapshot) Since(before *Snapshot) Snapshot {
	d := Snapshot{Count: s.Count - before.Count, Sum: s.Sum - before.Sum, Bounds: s.Bounds, Counts: slices.Clone(s.Counts), Zero: s.Zero - before.Zero}
	for i := range before.Counts {
		d.Counts[i] -= before.Counts[i]
	}
	i := 0
	for _, b := range s.Native {
		for i < len(before.Native) && before.Native[i].Key < b.Key {
			i++
		}
		if i < len(before.Native) && before.Native[i].Key == b.Key {
			b.Count -= before.Native[i].Count
		}
		if b.Count > 0 {
			d.Native = append(d.Native, b)
		}
	}
	return d
}
