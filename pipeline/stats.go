package pipeline

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/cdc"
	"firstclick/join/window"
	"firstclick/pipeline/sink"
)

// Stats is how a pipeline stands, at most a tick old, and its totals.
type Stats struct {
	ClicksTopic, CheckoutsTopic string
	WindowBudget                int64 // bytes; 0: no bound

	At            time.Time
	Started       time.Time
	EndsAt        time.Time // when Kafka last said where the topics end; zero: not yet
	Ready         bool      // a shard is owned, or the group has given this instance none, and Kafka answers
	Clicks        []PartitionStats
	Shards        []ShardStats
	Others        OthersStats
	Watermark     int64 // microseconds; event.NoTime: not known yet
	Window        window.Stats
	CommittedAt   time.Time // the end of the last transaction; zero: none yet
	Held, MaxHeld int64     // bytes of checkouts on their way to Postgres; at the most no more are polled

	Totals
	Server ServerProbe
	Sink   sink.Stats
	Users  cdc.Stats
}

// Totals are the counters of /metrics: since New, over all sessions.
type Totals struct {
	Sessions                  int64 // begun; each after the first began again where Postgres was
	Fenced                    int64
	Assigned                  int64 // how often the group gave this instance partitions, or none
	ClicksRead, CheckoutsRead int64 // records
	FarClicks, FarCheckouts   int64 // dated so far ahead of our clock that they are noted in firstclick.late
	OpenTxnReleases           int64
	Transactions              int64
	Result                    sink.Result   // sum over the transactions; without Unclicked
	DelayRows                 int64         // rows whose records have a timestamp
	Delay                     time.Duration // sum over these rows: from a record's timestamp to the commit
	Committing                time.Duration // wall time with a transaction under way
	Naming                    time.Duration // wall time in which a transaction waits for names
}

// PartitionStats is how far a clicks partition is. Next and End are offsets.
type PartitionStats struct {
	Next, End, MaxTime int64
	Paused             bool
	RecordTime         int64     // timestamp of the newest record read, microseconds; event.NoTime: none
	AtEnd              time.Time // when it was last known to be read up to its end; zero: never
}

// ShardStats is how far an owned checkouts partition is.
type ShardStats struct {
	Partition       int32
	Next, End       int64 // offsets: the next to be released, the end
	Committed       int64
	ClicksCommitted []int64
	Queued, Recents int
	MaxReleased     int64
	FinalBefore     int64
	Restoring       bool
	Paused          bool
	Time            int64     // event time of the last row committed; event.NoTime: none yet
	RecordTime      int64     // timestamp of its record
	AtEnd           time.Time // when it was last known to be committed up to its end; zero: never
}

// OthersStats counts the group's shards that this instance does not own.
type OthersStats struct {
	Owned   int // by other instances
	Unowned int // by nobody
}

// Instance is the application_name of our Postgres sessions, given or random.
func (p *Pipeline) Instance() string { return p.cfg.Instance }

// Stats returns how the pipeline stands. Safe for concurrent use.
func (p *Pipeline) Stats() Stats {
	p.mu.Lock()
	st, server, sink, mirror := p.stats, p.server, p.sink, p.mirror
	p.mu.Unlock()
	st.ClicksTopic, st.CheckoutsTopic, st.WindowBudget = p.cfg.ClicksTopic, p.cfg.CheckoutsTopic, p.cfg.MemoryLimit/2
	st.Started, st.Server = p.start, server
	if sink != nil {
		st.Sink = sink.Stats()
	}
	if mirror != nil {
		st.Users = mirror.Stats()
	}
	st.Totals = p.totals()
	return st
}

// totals reads the counters.
func (p *Pipeline) totals() Totals {
	in, out := p.ingest, p.engine
	rows := func(outcome string) int64 { return count(out.rows.WithLabelValues(outcome)) }
	delayed, delay := out.latency.total()
	return Totals{
		Sessions: count(p.metrics.sessions), Fenced: count(p.metrics.fenced), Assigned: count(in.assigned),
		ClicksRead: count(in.read[p.cfg.ClicksTopic]), CheckoutsRead: count(in.read[p.cfg.CheckoutsTopic]),
		FarClicks: count(out.farClicks), FarCheckouts: count(out.farCheckouts),
		OpenTxnReleases: count(out.openTxnReleases), Transactions: p.sinkMetrics.Transactions(),
		Result: sink.Result{
			Fresh: rows("attributed") + rows("unattributed"), Attributed: rows("attributed"),
			Duplicates: rows("duplicate"), Conflicts: rows("conflict"), Refused: rows("refused"),
			Corrected:   rows("corrected"),
			DeadLetters: count(out.newDeadLetters), Late: count(out.newLate), Unknown: count(out.unknown),
		},
		DelayRows: delayed, Delay: delay,
		Committing: out.committing.total(), Naming: out.naming.total(),
	}
}

// publish makes the Stats that other goroutines read.
func (l *loop) publish() {
	l.atEnds()
	l.countCore()
	st := Stats{
		At: wall(), EndsAt: l.endsAt, CommittedAt: l.committedAt, Others: l.others,
		Ready:     !l.endsAt.IsZero() && !l.checkoutEndsAt.IsZero(),
		Watermark: l.core.Watermark(), Window: l.s.window.Stats(), Held: l.heldBytes(), MaxHeld: l.maxHeld(),
	}
	for p, c := range l.core.ClicksStates() {
		_, recordTime := l.s.p.reading.upTo(l.s.cfg.ClicksTopic, int32(p))
		st.Clicks = append(st.Clicks, PartitionStats{
			Next: c.Next, End: c.End, MaxTime: c.MaxTime, Paused: l.clicksPaused[int32(p)],
			RecordTime: recordTime, AtEnd: l.clicksAtEnd[int32(p)],
		})
	}
	full := l.full()
	for _, s := range l.core.Shards() {
		sh := l.shards[s.Partition]
		n, _ := s.Open()
		st.Shards = append(st.Shards, ShardStats{
			Partition: s.Partition, Next: s.Next(), End: s.End(), Committed: sh.at.NextOffset,
			ClicksCommitted: slices.Clone(sh.at.ClicksNext), Queued: s.Queued(), Recents: n,
			MaxReleased: s.MaxReleased(), FinalBefore: s.Final(), Restoring: s.Restoring(),
			Paused: l.checkoutsPaused[s.Partition] || full, Time: sh.time, RecordTime: sh.recordTime, AtEnd: sh.atEnd,
		})
	}
	p := l.s.p
	p.mu.Lock()
	p.stats = st
	p.mu.Unlock()
}

// countCore adds what the core has counted since the last call. Each session's core begins at 0.
func (l *loop) countCore() {
	m, now := l.s.p.engine, [...]int64{l.core.FarClicks, l.core.FarCheckouts, l.core.OpenTxnReleases}
	for i, counter := range [...]prometheus.Counter{m.farClicks, m.farCheckouts, m.openTxnReleases} {
		counter.Add(float64(now[i] - l.counted[i]))
	}
	l.counted = now
}

// countOthers counts the shards of the group that this instance does not own. stored are those that
// some instance has claimed before; the others of the group's beginning are unowned.
func (l *loop) countOthers(stored []sink.State) {
	l.others = OthersStats{Unowned: max(len(l.s.progress.CheckoutsStart)-len(stored), 0)}
	for i := range stored {
		switch {
		case l.shards[stored[i].Claim.Partition] != nil:
		case stored[i].Instance == "":
			l.others.Unowned++
		default:
			l.others.Owned++
		}
	}
}

// atEnds notes when a partition is read, or committed, up to its last known end. A record that is
// unread later came after that time.
func (l *loop) atEnds() {
	for p, c := range l.core.ClicksStates() {
		if c.End >= 0 && c.Next >= c.End {
			l.clicksAtEnd[int32(p)] = l.endsAt
		}
	}
	for _, sh := range l.shards {
		if sh.End() >= 0 && sh.Readable() && sh.at.NextOffset >= sh.End() {
			sh.atEnd = l.checkoutEndsAt
		}
	}
}
