package engine

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/internal/metrics"
	"firstclick/join/event"
	"firstclick/pipeline/rules"
	"firstclick/pipeline/sink"
)

// Metrics count what is released and committed. Safe for concurrent use.
type Metrics struct {
	Latency            *latencyHistogram
	commit, commitRows prometheus.Histogram // seconds, rows

	Rows                    *prometheus.CounterVec // by outcome
	Unknown                 prometheus.Counter
	deadLetters             *prometheus.CounterVec // by topic and reason
	NewDeadLetters, NewLate prometheus.Counter     // not in Postgres before; only the page shows them
	lateClicks              *prometheus.CounterVec // by effect
	lateCheckouts           prometheus.Counter
	FarClicks, FarCheckouts prometheus.Counter
	OpenTxnReleases         prometheus.Counter
	Committing, Naming      WallTime
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(f metrics.Factory, clicks, checkouts string) *Metrics {
	far := f.Counters("far_ahead_total", "Events dated further ahead of this machine's clock than "+
		"--max-future-skew and --window together: joined with what is there, and noted in firstclick.late; clicks "+
		"that are read again after a start included.", "topic")
	m := &Metrics{
		Latency: newLatencyHistogram(f.Desc("latency_seconds", "Seconds from a checkout's record timestamp to the "+
			"end of the transaction that holds it; a backlog counts in full."),
			.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
		commit: f.Histogram("commit_seconds", "Seconds that a transaction took, look-up of names and repeated "+
			"tries included.",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60),
		commitRows: f.Histogram("commit_rows", "Rows in a transaction that carried any.",
			1, 4, 16, 64, 256, 1024, 2048, 4096, 8192, 16384),

		Rows: f.Counters("rows_total", "Checkouts written, by outcome. Corrected ones were counted before: "+
			"they moved to an earlier click. Conflicts and refused ones are dead letters.", "outcome"),
		Unknown: f.Counter("unknown_users_total", "Rows written without a name, for their user was not known."),
		deadLetters: f.Counters("dead_letters_total", "Dead letters committed, by topic and reason.",
			"topic", "reason"),
		lateClicks: f.Counters("late_clicks_total", "Late clicks by effect: corrected counts the corrections they "+
			"gave rise to, noted those that came after a row they could change was final, or are dated far ahead.",
			"effect"),
		lateCheckouts: f.Counter("late_checkouts_total", "Checkouts that came after their event time was final, "+
			"or are dated far ahead: joined where possible, and noted in firstclick.late."),
		NewDeadLetters: metrics.NotShown(), NewLate: metrics.NotShown(),
		FarClicks: far.WithLabelValues(clicks), FarCheckouts: far.WithLabelValues(checkouts),
		OpenTxnReleases: f.Counter("open_transaction_releases_total", "Checkouts released although a clicks "+
			"partition was held by a producer's open transaction for over 15 seconds."),
	}
	seconds := func(name, help string, w *WallTime) {
		f.CounterFunc(name, help, func() float64 { return w.Total().Seconds() })
	}
	seconds("committing_seconds_total", "Wall time with a transaction under way, in seconds.", &m.Committing)
	seconds("naming_seconds_total", "Wall time in which a transaction waited for users' names, in seconds.",
		&m.Naming)
	// Each is there as 0 from the first scrape on.
	for outcome := range outcomes(&sink.Result{}) {
		m.Rows.WithLabelValues(outcome)
	}
	for _, topic := range []string{clicks, checkouts} {
		for _, reason := range event.Reasons() {
			m.deadLetters.WithLabelValues(topic, string(reason))
		}
	}
	f.Register(m.Latency)
	m.lateClicks.WithLabelValues("corrected")
	m.lateClicks.WithLabelValues("noted")
	return m
}

// outcomes are the values of the label outcome, and what a transaction adds to each.
func outcomes(r *sink.Result) map[string]int64 {
	return map[string]int64{
		"attributed": r.Attributed, "unattributed": r.Fresh - r.Attributed, "duplicate": r.Duplicates,
		"conflict": r.Conflicts, "refused": r.Refused, "corrected": r.Corrected,
	}
}

// committed counts a transaction of checkouts that took so long.
func (m *Metrics) committed(checkouts string, batches []*sink.Batch, r *sink.Result, took time.Duration) {
	now, rows := rules.Wall().UnixMicro(), 0
	dead := func(topic string, reason event.Reason, n int64) {
		m.deadLetters.WithLabelValues(topic, string(reason)).Add(float64(n))
	}
	for _, b := range batches {
		rows += len(b.Rows)
		m.Latency.committed(b.Rows, now)
		for i := range b.Dead {
			dead(b.Dead[i].Topic, b.Dead[i].Reason, 1)
		}
		for i := range b.Late {
			if b.Late[i].Kind == sink.LateClick {
				m.lateClicks.WithLabelValues("noted").Inc()
			} else {
				m.lateCheckouts.Inc()
			}
		}
	}
	m.commit.Observe(took.Seconds())
	if rows > 0 {
		m.commitRows.Observe(float64(rows))
	}
	for outcome, n := range outcomes(r) {
		m.Rows.WithLabelValues(outcome).Add(float64(n))
	}
	dead(checkouts, event.ReasonRefused, r.Refused)
	dead(checkouts, event.ReasonRefusedClick, r.Unclicked)
	dead(checkouts, event.ReasonConflict, r.Conflicts)
	m.Unknown.Add(float64(r.Unknown))
	m.NewDeadLetters.Add(float64(r.DeadLetters))
	m.NewLate.Add(float64(r.Late))
}

// WallTime adds up the time in which at least one of several tasks is under way. It includes tasks
// that have not ended, so it shows one that hangs; a counter that is raised at the end does not.
// Safe for concurrent use.
type WallTime struct {
	mu      sync.Mutex
	running int
	since   time.Time
	sum     time.Duration
}

// Start begins a task; stop ends it.
func (w *WallTime) Start() (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == 0 {
		w.since = time.Now()
	}
	w.running++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.running--; w.running == 0 {
			w.sum += time.Since(w.since)
		}
	}
}

// Total is the sum so far.
func (w *WallTime) Total() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running > 0 {
		return w.sum + time.Since(w.since)
	}
	return w.sum
}
