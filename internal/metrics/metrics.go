package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"
)

const prefix = "firstclick"

// Factory makes metrics with our prefix and the label group, and registers them.
type Factory struct {
	promauto.Factory
	reg   prometheus.Registerer // nil: none is registered
	group prometheus.Labels
}

// NewFactory makes a factory. reg may be nil.
func NewFactory(reg prometheus.Registerer, group string) Factory {
	return Factory{promauto.With(reg), reg, prometheus.Labels{"group": group}}
}

// Counter makes a counter.
func (f Factory) Counter(name, help string) prometheus.Counter {
	return f.NewCounter(prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help, ConstLabels: f.group})
}

// Counters makes counters with labels.
func (f Factory) Counters(name, help string, labels ...string) *prometheus.CounterVec {
	opts := prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help, ConstLabels: f.group}
	return f.NewCounterVec(opts, labels)
}

// Gauges makes gauges with labels.
func (f Factory) Gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: prefix, Name: name, Help: help, ConstLabels: f.group}, labels)
}

// CounterFunc makes a counter whose value a function gives.
func (f Factory) CounterFunc(name, help string, value func() float64) {
	opts := prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help, ConstLabels: f.group}
	f.NewCounterFunc(opts, value)
}

// ZeroThreshold is the value up to which a native histogram counts a value as zero.
const ZeroThreshold = 1.0 / 1024

// Histogram has classic buckets and native ones of schema 3. The Prometheus server's settings say
// which it takes.
func (f Factory) Histogram(name, help string, bounds ...float64) prometheus.Histogram {
	return f.NewHistogram(prometheus.HistogramOpts{
		Namespace: prefix, Name: name, Help: help, ConstLabels: f.group,
		Buckets: bounds, NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: ZeroThreshold,
	})
}

// Desc describes a metric.
func (f Factory) Desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+"_"+name, help, labels, f.group)
}

// Register registers a collector.
func (f Factory) Register(c prometheus.Collector) {
	if f.reg != nil {
		f.reg.MustRegister(c)
	}
}

// Wrapped gives another room's metrics the prefix and the label.
func (f Factory) Wrapped() prometheus.Registerer {
	return prometheus.WrapRegistererWithPrefix(prefix+"_", prometheus.WrapRegistererWith(f.group, f.reg))
}

// NotShown makes a counter that is not registered.
func NotShown() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{}) }

// Count returns what a counter has counted.
func Count(c prometheus.Counter) int64 {
	var out dto.Metric
	_ = c.Write(&out) // a counter of client_golang does not fail
	return int64(out.GetCounter().GetValue())
}
