package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"firstclick/join"
)

// ownRegisterer gives our metrics their prefix and the label group; in may be nil.
func ownRegisterer(in prometheus.Registerer, group string) prometheus.Registerer {
	return prometheus.WrapRegistererWithPrefix("firstclick_", prometheus.WrapRegistererWith(prometheus.Labels{"group": group}, in))
}

// runMetrics count the lives of a pipeline.
type runMetrics struct{ sessions, fenced prometheus.Counter }

func newRunMetrics(reg prometheus.Registerer) *runMetrics {
	counter := func(name, help string) prometheus.Counter {
		return promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &runMetrics{
		sessions: counter("sessions_total", "Times that work began where Postgres was: at the start, after being fenced, after what could not be mended otherwise."),
		fenced:   counter("fenced_total", "Times that another instance had taken over a shard that this one believed to own."),
	}
}

// source is the pipeline that is shown.
type source interface {
	Stats() Stats
	Health() []Check
}

// collector shows how a pipeline stands: what has no event, such as lag and sizes, and what packages sink and cdc count.
type collector struct {
	source  source
	metrics []metric
}

func newCollector(p source) *collector {
	c := &collector{source: p}
	add := func(kind prometheus.ValueType, name, help string, labels []string, values func(l *look, emit emit)) {
		c.metrics = append(c.metrics, metric{prometheus.NewDesc(name, help, labels, nil), kind, values})
	}
	gauge := func(name, help string, values func(l *look, emit emit), labels ...string) {
		add(prometheus.GaugeValue, name, help, labels, values)
	}
	counter := func(name, help string, values func(l *look, emit emit), labels ...string) {
		add(prometheus.CounterValue, name+"_total", help, labels, values)
	}
	describePartitions(gauge)
	describeWindow(gauge)
	describePostgres(gauge, counter)
	describeUsers(gauge, counter)
	describeInstance(gauge)
	return c
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for i := range c.metrics {
		to <- c.metrics[i].desc
	}
}

// Collect is part of prometheus.Collector. It looks at the pipeline once.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	now := look{Stats: c.source.Stats(), health: c.source.Health()}
	for i := range c.metrics {
		m := &c.metrics[i]
		m.values(&now, func(v float64, labels ...string) { to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...) })
	}
}

// look is the pipeline at one moment.
type look struct {
	Stats
	health []Check
}

type (
	metric struct {
		desc   *prometheus.Desc
		kind   prometheus.ValueType
		values func(l *look, emit emit)
	}
	// emit shows a value with those of the labels.
	emit func(v float64, labels ...string)
	// define adds a metric, whose values a function emits.
	define func(name, help string, values func(l *look, emit emit), labels ...string)
)

// plain is a figure without labels.
func plain[T int | int64 | uint64 | float64](read func(l *look) T) func(l *look, emit emit) {
	return func(l *look, emit emit) { emit(float64(read(l))) }
}

// instant emits a time in microseconds since the epoch as Prometheus has it, in seconds. One that is not known yet is left out.
func instant(t int64, emit emit, labels ...string) {
	if t != join.NoTime {
		emit(float64(t)/1e6, labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
