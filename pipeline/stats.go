package pipeline

import (
	"time"

	"firstclick/cdc"
	"firstclick/internal/metrics"
	"firstclick/pipeline/engine"
	"firstclick/pipeline/sink"
)

// Names that users of a pipeline need from its rooms.
type (
	// Status is how the attempt is doing.
	Status = engine.Status
	// PartitionStats is how far a clicks partition is.
	PartitionStats = engine.PartitionStats
	// ShardStats is how far an owned checkouts partition is.
	ShardStats = engine.ShardStats
	// OthersStats counts the shards of other instances.
	OthersStats = engine.OthersStats
	// Lag is how far a partition is behind.
	Lag = engine.Lag
)

// Stats is how a pipeline is doing, and what it has counted.
type Stats struct {
	ClicksTopic, CheckoutsTopic string
	WindowBudget                int64 // bytes; 0: no bound
	Started                     time.Time

	Status
	Totals
	Server ServerProbe
	Sink   sink.Stats
	Users  cdc.Stats
}

// Totals are counts since New, over all attempts, as /metrics has them.
type Totals struct {
	Attempts                  int64 // begun
	Fenced                    int64
	Assigned                  int64 // how often the group gave this instance partitions, or none
	ClicksRead, CheckoutsRead int64 // records
	FarClicks, FarCheckouts   int64 // dated so far ahead of our clock that they are noted in firstclick.late
	OpenTxnReleases           int64
	Transactions              int64
	Result                    sink.Result   // sum over the transactions; without Unclicked
	DelayRows                 int64         // rows whose records have a timestamp
	Delay                     time.Duration // sum over these rows: from a record's timestamp to the commit
	Committing                time.Duration // wall time with a transaction in flight
	Naming                    time.Duration // wall time in which a transaction waits for names
}

// Instance is the application_name of our Postgres sessions, given or random.
func (p *Pipeline) Instance() string { return p.cfg.Instance }

// Stats returns how the pipeline is doing. Safe for concurrent use.
func (p *Pipeline) Stats() Stats {
	st := Stats{
		ClicksTopic: p.cfg.ClicksTopic, CheckoutsTopic: p.cfg.CheckoutsTopic, WindowBudget: p.cfg.MemoryLimit / 2,
		Started: p.started, Status: *p.status.Load(), Totals: p.totals(), Server: *p.server.Load(),
	}
	if p.open.Load() {
		st.Sink, st.Users = p.sink.Stats(), p.mirror.Stats()
	}
	return st
}

// totals reads the counters.
func (p *Pipeline) totals() Totals {
	in, out, count := p.ingest.Metrics, p.engine, metrics.Count
	rows := func(outcome string) int64 { return count(out.Rows.WithLabelValues(outcome)) }
	delayed, delay := out.Latency.Total()
	return Totals{
		Attempts: count(p.metrics.attempts), Fenced: count(p.metrics.fenced), Assigned: count(in.Assigned),
		ClicksRead: count(in.Read[p.cfg.ClicksTopic]), CheckoutsRead: count(in.Read[p.cfg.CheckoutsTopic]),
		FarClicks: count(out.FarClicks), FarCheckouts: count(out.FarCheckouts),
		OpenTxnReleases: count(out.OpenTxnReleases), Transactions: p.sinkMetrics.Transactions(),
		Result: sink.Result{
			Fresh: rows("attributed") + rows("unattributed"), Attributed: rows("attributed"),
			Duplicates: rows("duplicate"), Conflicts: rows("conflict"), Refused: rows("refused"),
			Corrected:   rows("corrected"),
			DeadLetters: count(out.NewDeadLetters), Late: count(out.NewLate), Unknown: count(out.Unknown),
		},
		DelayRows: delayed, Delay: delay, Committing: out.Committing.Total(), Naming: out.Naming.Total(),
	}
}

// Latest returns the checkout_ids of the last rows that this instance has written: at most 16, the
// newest last.
func (p *Pipeline) Latest() []string { return p.latest.IDs() }
