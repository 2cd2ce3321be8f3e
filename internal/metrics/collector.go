package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/join"
	"firstclick/pipeline"
)

// source is the pipeline that is shown.
type source interface {
	Stats() pipeline.Stats
	Measures() pipeline.Measures
	Health() []pipeline.Check
}

// Collector shows a pipeline. Make one with New.
type Collector struct {
	source source
	all    []metric

	mu    sync.Mutex
	group string             // that descs are of
	descs []*prometheus.Desc // by metric of all
}

// New makes the collector of one pipeline. It needs no end.
func New(p source) *Collector {
	c := &Collector{source: p}
	for _, group := range [][]metric{input(), lag(), output(), users(), instances()} {
		c.all = append(c.all, group...)
	}
	return c
}

// Describe sends nothing: constant labels are known only when the pipeline is asked, so the collector is unchecked.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect asks the pipeline once.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	now := look{Stats: c.source.Stats(), Measures: c.source.Measures(), health: c.source.Health()}
	descs := c.described(now.Group)
	for i := range c.all {
		m, desc := &c.all[i], descs[i]
		if m.histogram != nil {
			to <- &histogramMetric{desc, m.histogram(&now)}
			continue
		}
		m.values(&now, func(v float64, labels ...string) { to <- prometheus.MustNewConstMetric(desc, m.kind, v, labels...) })
	}
}

// described makes the descriptors once: a pipeline's group stays what it is.
func (c *Collector) described(group string) []*prometheus.Desc {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.descs == nil || c.group != group {
		c.group, c.descs = group, make([]*prometheus.Desc, len(c.all))
		for i := range c.all {
			m := &c.all[i]
			c.descs[i] = prometheus.NewDesc("firstclick_"+m.name, m.help, m.labels, prometheus.Labels{"group": group})
		}
	}
	return c.descs
}

// look is the pipeline at one moment.
type look struct {
	pipeline.Stats
	pipeline.Measures
	health []pipeline.Check
}

type (
	emit   func(v float64, labels ...string)
	metric struct {
		name, help string
		kind       prometheus.ValueType
		labels     []string
		values     func(l *look, emit emit)
		histogram  func(l *look) histogramValue
	}
)

func gauge(name, help string, values func(l *look, emit emit), labels ...string) metric {
	return metric{name: name, help: help, kind: prometheus.GaugeValue, labels: labels, values: values}
}

func counter(name, help string, values func(l *look, emit emit), labels ...string) metric {
	return metric{name: name + "_total", help: help, kind: prometheus.CounterValue, labels: labels, values: values}
}

// plain is a figure without labels.
func plain[T int | int32 | int64 | uint64 | float64](read func(l *look) T) func(l *look, emit emit) {
	return func(l *look, emit emit) { emit(float64(read(l))) }
}

// seconds of event time, or of a clock: microseconds since the epoch as Prometheus has them. What is not known yet is left out.
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
