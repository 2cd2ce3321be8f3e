package sink

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"

	"firstclick/join/event"
)

// Metrics count what a sink does. Safe for concurrent use.
type Metrics struct {
	transactions   prometheus.Counter
	direct, staged prometheus.Counter
	retries        *prometheus.CounterVec // by cause
	leftOut        *prometheus.CounterVec // by reason
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counters := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	paths := counters("transactions_by_path_total", "Transactions with rows, by the way they took: "+
		"straight into the table, or by a temporary one because of duplicates.", "path")
	m := &Metrics{
		transactions: f.NewCounter(
			prometheus.CounterOpts{Name: "transactions_total", Help: "Transactions committed in Postgres."},
		),
		direct: paths.WithLabelValues("direct"),
		staged: paths.WithLabelValues("staged"),
		retries: counters(
			"postgres_retries_total",
			"Transactions and look-ups that failed and were tried again, by cause.",
			"cause",
		),
		leftOut: counters(
			"dead_letter_payloads_left_out_total",
			"Payloads of bad records that were not kept, by reason: "+
				"past --dead-letter-payloads in an hour only place, size and hash are.",
			"reason",
		),
	}
	for _, cause := range causes() {
		m.retries.WithLabelValues(cause)
	}
	for _, reason := range event.Reasons() {
		m.leftOut.WithLabelValues(string(reason))
	}
	return m
}

// Transactions returns how many transactions were committed.
func (m *Metrics) Transactions() int64 { return counted(m.transactions) }

func counted(c prometheus.Counter) int64 {
	var out dto.Metric
	_ = c.Write(&out) // a counter of client_golang does not fail
	return int64(out.GetCounter().GetValue())
}
