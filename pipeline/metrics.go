package pipeline

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/metrics"
)

// The metrics follow https://prometheus.io/docs/practices/naming/: prefix firstclick_, base units,
// _total for counters. Each has the label group. Partitions, reasons and causes bound the number of
// series; what records hold never makes a series. Each counter is there as 0 from the first scrape
// on, so that increase() sees the first event.
//
// Whoever sees an event counts it: runMetrics, and Metrics of ingest, engine and sink.
// stateCollector reads at a scrape what has no event, such as lag and sizes, and what package cdc
// counts.

// runMetrics count the attempts of a pipeline.
type runMetrics struct{ attempts, fenced prometheus.Counter }

func newRunMetrics(f metrics.Factory) *runMetrics {
	return &runMetrics{
		attempts: f.Counter("sessions_total",
			"Times that work began where Postgres was: at the start, after being fenced, after what could not be "+
				"mended otherwise."),
		fenced: f.Counter("fenced_total", "Times that another instance had taken over a shard that this one "+
			"believed to own."),
	}
}

// stateCollector reads how a pipeline stands when it is scraped.
type stateCollector struct {
	metrics.Factory
	stats   func() Stats
	health  func() []Check
	metrics []stateMetric
}

// stateMetric is a metric whose values are read at a scrape.
type stateMetric struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(st *Stats, emit emit)
}

// emit shows a value, where it is known, with the values of the labels.
type emit func(v float64, known bool, labels ...string)

// registerState registers what is read of a pipeline at a scrape.
func registerState(f metrics.Factory, stats func() Stats, health func() []Check) {
	c := &stateCollector{Factory: f, stats: stats, health: health}
	c.definePartitions()
	c.defineParts()
	f.Register(c)
}

func (c *stateCollector) define(
	kind prometheus.ValueType, name, help string, values func(st *Stats, emit emit), labels ...string,
) {
	c.metrics = append(c.metrics, stateMetric{c.Desc(name, help, labels...), kind, values})
}

func (c *stateCollector) gauge(name, help string, value func(st *Stats) (v float64, known bool)) {
	c.define(prometheus.GaugeValue, name, help, func(st *Stats, emit emit) {
		v, known := value(st)
		emit(v, known)
	})
}

// of is a value of the clicks partition, or of the shard, that is the i-th in Stats.
type of func(st *Stats, i int) (v float64, known bool)

// partitioned defines a gauge of the clicks partitions and of the shards. clicks or shards may be
// nil.
func (c *stateCollector) partitioned(name, help string, clicks, shards of) {
	c.define(prometheus.GaugeValue, name, help, func(st *Stats, emit emit) {
		for i := 0; clicks != nil && i < len(st.Clicks); i++ {
			v, known := clicks(st, i)
			emit(v, known, st.ClicksTopic, strconv.Itoa(i))
		}
		for i := 0; shards != nil && i < len(st.Shards); i++ {
			v, known := shards(st, i)
			emit(v, known, st.CheckoutsTopic, strconv.Itoa(int(st.Shards[i].Partition)))
		}
	}, "topic", "partition")
}

// Describe is part of prometheus.Collector.
func (c *stateCollector) Describe(to chan<- *prometheus.Desc) {
	for i := range c.metrics {
		to <- c.metrics[i].desc
	}
}

// Collect is part of prometheus.Collector.
func (c *stateCollector) Collect(to chan<- prometheus.Metric) {
	st := c.stats()
	for i := range c.metrics {
		m := &c.metrics[i]
		m.values(&st, func(v float64, known bool, labels ...string) {
			if known {
				to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
			}
		})
	}
}
