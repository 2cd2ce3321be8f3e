package pipeline

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/join/event"
)

// ingestMetrics count what is read from Kafka and what the group decides. Safe for concurrent use.
type ingestMetrics struct {
	records, bytes          *prometheus.CounterVec        // by topic and partition
	read                    map[string]prometheus.Counter // records by topic, for Totals
	undecodable             *prometheus.CounterVec        // by topic and reason
	recordTimeAhead         *prometheus.GaugeVec          // by topic and partition
	logStart                *prometheus.GaugeVec          // by topic and partition
	assigned, revoked, lost prometheus.Counter
}

func newIngestMetrics(f factory, topics ...string) *ingestMetrics {
	rebalances := f.counters("rebalances_total", "What the group told this instance: partitions assigned (also "+
		"none), revoked, lost.", "event")
	m := &ingestMetrics{
		records: f.counters("records_read_total", "Kafka records read, clicks that were read again after a start "+
			"or a rebalance included.", "topic", "partition"),
		bytes: f.counters("read_bytes_total", "Bytes of the values of Kafka records read.", "topic", "partition"),
		read:  map[string]prometheus.Counter{},
		undecodable: f.counters("decode_failures_total",
			"Records read that could not be decoded, or lay too far ahead of their record's time, by reason.",
			"topic", "reason"),
		recordTimeAhead: f.gauges("record_time_ahead_seconds",
			"Timestamp of the newest record read minus our clock when it was read, in seconds: above zero, the "+
				"clocks disagree.", "topic", "partition"),
		logStart: f.gauges("log_start_offset", "First offset that Kafka still has, as asked for every 10 seconds.",
			"topic", "partition"),
		assigned: rebalances.WithLabelValues("assigned"),
		revoked:  rebalances.WithLabelValues("revoked"),
		lost:     rebalances.WithLabelValues("lost"),
	}
	for _, topic := range topics {
		m.read[topic] = notShown()
		for _, reason := range event.Reasons() {
			m.undecodable.WithLabelValues(topic, string(reason))
		}
	}
	return m
}

// polled counts the records that a poll returned of a partition. bytes is the size of their values.
// recordTime is the timestamp of the newest one in microseconds, or event.NoTime.
func (m *ingestMetrics) polled(topic string, partition int32, records, bytes, recordTime int64) {
	p := strconv.Itoa(int(partition))
	m.read[topic].Add(float64(records))
	m.records.WithLabelValues(topic, p).Add(float64(records))
	m.bytes.WithLabelValues(topic, p).Add(float64(bytes))
	if recordTime == event.NoTime {
		m.recordTimeAhead.DeleteLabelValues(topic, p)
		return
	}
	m.recordTimeAhead.WithLabelValues(topic, p).Set(time.UnixMicro(recordTime).Sub(wall()).Seconds())
}

// undecoded counts a record that cannot be decoded. It does nothing on nil: a record that is read
// again was counted before.
func (m *ingestMetrics) undecoded(topic string, reason event.Reason) {
	if m != nil {
		m.undecodable.WithLabelValues(topic, string(reason)).Inc()
	}
}
