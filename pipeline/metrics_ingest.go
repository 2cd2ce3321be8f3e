package pipeline

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"firstclick/join"
)

// ingestMetrics count what is read from Kafka and what the group decides. The methods are safe for
// concurrent use, and do nothing on nil: records that are read again for a takeover are not counted.
type ingestMetrics struct {
	records, bytes  *prometheus.CounterVec // by topic and partition
	undecodable     *prometheus.CounterVec // by topic and reason
	recordTimeAhead *prometheus.GaugeVec   // by topic and partition
	logStart        *prometheus.GaugeVec   // by topic and partition
	assigned, lost  prometheus.Counter
	revoked         prometheus.Counter
}

func newIngestMetrics(reg prometheus.Registerer, topics ...string) *ingestMetrics {
	factory, place := promauto.With(reg), []string{"topic", "partition"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return factory.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, place)
	}
	rebalances := counter("rebalances_total", "What the group told this instance: partitions assigned (also none), revoked, lost.", "event")
	m := &ingestMetrics{
		records: counter("records_read_total", "Kafka records read, clicks that were read again after a start or a rebalance included.", place...),
		bytes:   counter("read_bytes_total", "Bytes of the values of Kafka records read.", place...),
		undecodable: counter("decode_failures_total",
			"Records read that could not be decoded, or lay too far ahead of their record's time, by reason.", "topic", "reason"),
		recordTimeAhead: gauge("record_time_ahead_seconds",
			"Timestamp of the newest record read minus our clock when it was read, in seconds: above zero, the clocks disagree."),
		logStart: gauge("log_start_offset", "First offset that Kafka still has, as asked for every 10 seconds."),
		assigned: rebalances.WithLabelValues("assigned"), revoked: rebalances.WithLabelValues("revoked"), lost: rebalances.WithLabelValues("lost"),
	}
	for _, topic := range topics {
		for _, reason := range join.Reasons() { // each is there as 0 from the first scrape on
			m.undecodable.WithLabelValues(topic, string(reason))
		}
	}
	return m
}

// read counts what a poll brought of a partition: bytes of the values, and the timestamp of the
// newest record in microseconds or join.NoTime.
func (m *ingestMetrics) read(topic string, partition int32, records, bytes, recordTime int64) {
	p := strconv.Itoa(int(partition))
	m.records.WithLabelValues(topic, p).Add(float64(records))
	m.bytes.WithLabelValues(topic, p).Add(float64(bytes))
	if recordTime == join.NoTime {
		m.recordTimeAhead.DeleteLabelValues(topic, p)
		return
	}
	m.recordTimeAhead.WithLabelValues(topic, p).Set(time.UnixMicro(recordTime).Sub(wall()).Seconds())
}

func (m *ingestMetrics) logBegins(topic string, partition int32, offset int64) {
	m.logStart.WithLabelValues(topic, strconv.Itoa(int(partition))).Set(float64(offset))
}

func (m *ingestMetrics) countUndecodable(topic string, reason join.Reason) {
	if m != nil {
		m.undecodable.WithLabelValues(topic, string(reason)).Inc()
	}
}
