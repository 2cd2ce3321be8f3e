package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/join/event"
	"firstclick/pipeline/sink"
)

// engineMetrics count what is released and committed. Safe for concurrent use.
type engineMetrics struct {
	latency            *latencyHistogram
	commit, commitRows prometheus.Histogram // seconds, rows

	rows                    *prometheus.CounterVec // by outcome
	unknown                 prometheus.Counter
	deadLetters             *prometheus.CounterVec // by topic and reason
	newDeadLetters, newLate prometheus.Counter     // not in Postgres before; only the page shows them
	lateClicks              *prometheus.CounterVec // by effect
	lateCheckouts           prometheus.Counter
	farClicks, farCheckouts prometheus.Counter
	openTxnReleases         prometheus.Counter
	committing, naming      wallTime
}

func newEngineMetrics(f factory, clicks, checkouts string) *engineMetrics {
	far := f.counters("far_ahead_total", "Events dated further ahead of this machine's clock than "+
		"--max-future-skew and --window together: joined with what is there, and noted in firstclick.late; clicks "+
		"that are read again after a start included.", "topic")
	m := &engineMetrics{
		latency: newLatencyHistogram(f.desc("latency_seconds", "Seconds from a checkout's record timestamp to the "+
			"end of the transaction that holds it; a backlog counts in full."),
			.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
		commit: f.histogram("commit_seconds", "Seconds that a transaction took, look-up of names and repeated "+
			"tries included.",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60),
		commitRows: f.histogram("commit_rows", "Rows in a transaction that carried any.",
			1, 4, 16, 64, 256, 1024, 2048, 4096, 8192, 16384),

		rows: f.counters("rows_total", "Checkouts written, by outcome. Corrected ones were counted before: "+
			"they moved to an earlier click. Conflicts and refused ones are dead letters.", "outcome"),
		unknown: f.counter("unknown_users_total", "Rows written without a name, for their user was not known."),
		deadLetters: f.counters("dead_letters_total", "Dead letters committed, by topic and reason.",
			"topic", "reason"),
		lateClicks: f.counters("late_clicks_total", "Late clicks by effect: corrected counts the corrections they "+
			"gave rise to, noted those that came after a row they could change was final, or are dated far ahead.",
			"effect"),
		lateCheckouts: f.counter("late_checkouts_total", "Checkouts that came after their event time was final, "+
			"or are dated far ahead: joined where possible, and noted in firstclick.late."),
		newDeadLetters: notShown(), newLate: notShown(),
		farClicks: far.WithLabelValues(clicks), farCheckouts: far.WithLabelValues(checkouts),
		openTxnReleases: f.counter("open_transaction_releases_total", "Checkouts released although a clicks "+
			"partition was held by a producer's open transaction for over 15 seconds."),
	}
	seconds := func(name, help string, w *wallTime) {
		opts := prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help, ConstLabels: f.group}
		f.NewCounterFunc(opts, func() float64 { return w.total().Seconds() })
	}
	seconds("committing_seconds_total", "Wall time with a transaction under way, in seconds.", &m.committing)
	seconds("naming_seconds_total", "Wall time in which a transaction waited for users' names, in seconds.",
		&m.naming)
	// Each is there as 0 from the first scrape on.
	for outcome := range outcomes(&sink.Result{}) {
		m.rows.WithLabelValues(outcome)
	}
	for _, topic := range []string{clicks, checkouts} {
		for _, reason := range event.Reasons() {
			m.deadLetters.WithLabelValues(topic, string(reason))
		}
	}
	f.register(m.latency)
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
func (m *engineMetrics) committed(checkouts string, batches []*sink.Batch, r *sink.Result, took time.Duration) {
	now, rows := wall().UnixMicro(), 0
	dead := func(topic string, reason event.Reason, n int64) {
		m.deadLetters.WithLabelValues(topic, string(reason)).Add(float64(n))
	}
	for _, b := range batches {
		rows += len(b.Rows)
		m.latency.committed(b.Rows, now)
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
		m.rows.WithLabelValues(outcome).Add(float64(n))
	}
	dead(checkouts, event.ReasonRefused, r.Refused)
	dead(checkouts, event.ReasonRefusedClick, r.Unclicked)
	dead(checkouts, event.ReasonConflict, r.Conflicts)
	m.unknown.Add(float64(r.Unknown))
	m.newDeadLetters.Add(float64(r.DeadLetters))
	m.newLate.Add(float64(r.Late))
}

// wallTime adds up the time in which at least one of several tasks is under way. It includes tasks
// that have not ended, so it shows one that hangs; a counter that is raised at the end does not.
// Safe for concurrent use.
type wallTime struct {
	mu      sync.Mutex
	running int
	since   time.Time
	sum     time.Duration
}

// start begins a task; stop ends it.
func (w *wallTime) start() (stop func()) {
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

func (w *wallTime) total() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running > 0 {
		return w.sum + time.Since(w.since)
	}
	return w.sum
}

// timedNames counts how long names are waited for.
type timedNames struct {
	names   sink.Names
	waiting *wallTime
}

func (n timedNames) Names(ctx context.Context, ids []int32, names map[int32]string) (edition string, err error) {
	defer n.waiting.start()()
	return n.names.Names(ctx, ids, names)
}

func (n timedNames) Outdated(edition string) { n.names.Outdated(edition) }
