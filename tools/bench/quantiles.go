package main

import (
	"fmt"
	"slices"
	"time"
)

// Quantiles of durations, in milliseconds. All values are kept and sorted: nothing is estimated.
type Quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// quantiles sorts its nanoseconds.
func quantiles(values []int64) Quantiles {
	if len(values) == 0 {
		return Quantiles{}
	}
	slices.Sort(values)
	at := func(q float64) float64 {
		i := min(int(q*float64(len(values))), len(values)-1)
		return float64(values[i]) / float64(time.Millisecond)
	}
	return Quantiles{Count: len(values), P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1)}
}

// String is for a line of progress.
func (q Quantiles) String() string {
	return fmt.Sprintf("p50 %.2f ms  p99 %.2f ms  p99.9 %.2f ms  max %.1f ms  (%d)", q.P50, q.P99, q.P999, q.Max,
		q.Count)
}
