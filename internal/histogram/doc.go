// Package histogram counts how often values occurred, for the hot path: a batch takes the lock once, a value costs some
// nanoseconds, and nothing is allocated.
//
// A value is counted twice: in classic buckets, with the bounds that the owner chose, and in the native ones of Prometheus' schema 3, of
// which each is 2^(1/8) (9 %) wider than the one before
// (https://prometheus.io/docs/specs/native_histograms/). Invariant: the counts of either add up to Count.
package histogram
