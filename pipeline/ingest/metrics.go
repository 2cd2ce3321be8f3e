package ingest

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"firstclick/internal/metrics"
	"firstclick/join/event"
	"firstclick/pipeline/rules"
)

// Metrics count what is read from Kafka and what the group decides. Safe for concurrent use.
type Metrics struct {
	records, bytes          *prometheus.CounterVec        // by topic and partition
	Read                    map[string]prometheus.Counter // records by topic, for Totals
	undecodable             *prometheus.CounterVec        // by topic and reason
	recordTimeAhead         *prometheus.GaugeVec          // by topic and partition
	logStart                *prometheus.GaugeVec          // by topic and partition
	Assigned, revoked, lost prometheus.Counter
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(f metrics.Factory, topics ...string) *Metrics {
	rebalances := f.Counters("rebalances_total", "What the group told this instance: partitions assigned (also "+
		"none), revoked, lost.", "event")
	m := &Metrics{
		records: f.Counters("records_read_total", "Kafka records read, clicks that were read again after a start "+
			"or a rebalance included.", "topic", "partition"),
		bytes: f.Counters("read_bytes_total", "Bytes of the values of Kafka records read.", "topic", "partition"),
		Read:  map[string]prometheus.Counter{},
		undecodable: f.Counters("decode_failures_total",
			"Records read that could not be decoded, or lay too far ahead of their record's time, by reason.",
			"topic", "reason"),
		recordTimeAhead: f.Gauges("record_time_ahead_seconds",
			"Timestamp of the newest record read minus our clock when it was read, in seconds: above zero, the "+
				"clocks disagree.", "topic", "partition"),
		logStart: f.Gauges("log_start_offset", "First offset that Kafka still has, as asked for every 10 seconds.",
			"topic", "partition"),
		Assigned: rebalances.WithLabelValues("assigned"),
		revoked:  rebalances.WithLabelValues("revoked"),
		lost:     rebalances.WithLabelValues("lost"),
	}
	for _, topic := range topics {
		m.Read[topic] = metrics.NotShown()
		for _, reason := range event.Reasons() {
			m.undecodable.WithLabelValues(topic, string(reason))
		}
	}
	return m
}

// Polled counts the records that a poll returned of a partition. bytes is the size of their values.
// recordTime is the timestamp of the newest one in microseconds, or event.NoTime.
func (m *Metrics) Polled(topic string, partition int32, records, bytes, recordTime int64) {
	p := strconv.Itoa(int(partition))
	m.Read[topic].Add(float64(records))
	m.records.WithLabelValues(topic, p).Add(float64(records))
	m.bytes.WithLabelValues(topic, p).Add(float64(bytes))
	if recordTime == event.NoTime {
		m.recordTimeAhead.DeleteLabelValues(topic, p)
		return
	}
	m.recordTimeAhead.WithLabelValues(topic, p).Set(time.UnixMicro(recordTime).Sub(rules.Wall()).Seconds())
}

// undecoded counts a record that cannot be decoded. It does nothing on nil: a record that is read
// again was counted before.
func (m *Metrics) undecoded(topic string, reason event.Reason) {
	if m != nil {
		m.undecodable.WithLabelValues(topic, string(reason)).Inc()
	}
}

// Starts shows where the log of each partition of a topic begins.
func (m *Metrics) Starts(topic string, offsets []int64) {
	for p, o := range offsets {
		m.logStart.WithLabelValues(topic, strconv.Itoa(p)).Set(float64(o))
	}
}

// kafkaMetrics returns the hooks by which a Kafka client registers its own metrics, with the prefix
// firstclick_kafka_ and the label client. Only the clients clicks, clicks-2 and checkouts have any.
// A client that replaces another one of its name, in a new attempt, begins at 0.
func kafkaMetrics(registry prometheus.Registerer, client string) []kgo.Hook {
	if client != "checkouts" && !strings.HasPrefix(client, "clicks") {
		return nil // it lives for a moment, and there may be several of its name
	}
	to := &replacing{prometheus.WrapRegistererWith(prometheus.Labels{"client": client}, registry)}
	return []kgo.Hook{kprom.NewMetrics("firstclick_kafka", kprom.Registerer(to),
		kprom.Histograms(kprom.RequestDurationE2E, kprom.RequestThrottled))}
}

// replacing is a registry in which a collector replaces an equal one. It leaves out what a client
// that only reads never counts, and gauges whose names end like those of counters.
type replacing struct{ prometheus.Registerer }

func (r *replacing) Register(c prometheus.Collector) error {
	if leftOut(c) {
		return nil
	}
	err := r.Registerer.Register(c)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		r.Unregister(twice.ExistingCollector)
		err = r.Registerer.Register(c)
	}
	return err
}

func (r *replacing) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err) // as the registry itself does: two metrics of one name that differ are a mistake in the program
		}
	}
}

func leftOut(c prometheus.Collector) (out bool) {
	descs := make(chan *prometheus.Desc, 16)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for d := range descs {
		name := d.String()
		out = out || strings.Contains(name, "_kafka_produce_") || strings.Contains(name, "_kafka_buffered_")
	}
	return out
}
