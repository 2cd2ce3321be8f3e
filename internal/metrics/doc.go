// Package metrics shows a pipeline to Prometheus.
//
// [Collector] reads pipeline.Stats and pipeline.Measures when it is scraped: between scrapes it costs nothing, and what the hot path counts is
// in pipeline. [Kafka] is the Kafka client's own metrics, of which it leaves out what says nothing here.
//
// Names follow https://prometheus.io/docs/practices/naming/: prefix firstclick_, base units, _total for counters. Every metric of the collector
// has the label group; the number of series is bounded by partitions, reasons and causes, never by what records hold.
//
// Invariant: whatever can be counted is there from the first scrape on, as 0, so that increase() sees the first one.
package metrics
