package pipeline

import (
	"slices"
	"time"

	"firstclick/cdc"
	"firstclick/join"
	"firstclick/pipeline/sink"
)

// Stats is how a pipeline stands, at most a tick old.
type Stats struct {
	At        time.Time
	Started   time.Time
	EndsAt    time.Time // when Kafka last said where the topics end; zero: not yet
	Ready     bool      // a shard is owned, or the group has given this instance none, and Kafka answers
	Clicks    []PartitionStats
	Shards    []ShardStats
	Watermark int64 // microseconds; join.NoTime: not known yet
	Window    join.WindowStats

	ClicksRead, CheckoutsRead   int64 // records
	ClicksBytes, CheckoutsBytes int64
	Result                      sink.Result // summed up
	Transactions                int64
	CommittedAt                 time.Time // the end of the last one; zero: none yet
	InTransaction               time.Duration
	OpenTxnReleases             int64
	FarClicks, FarCheckouts     int64 // dated so far ahead of our clock that they are noted in firstclick.late
	Held, MaxHeld               int64 // bytes of checkouts on their way to Postgres; at the most no more are polled
	Delay                       DelayStats
	Committing, Naming          time.Duration // wall time with a transaction under way; with names being waited for in one
	Fenced                      int64
	Others                      OthersStats

	Sink  sink.Stats
	Users cdc.Stats
}

// PartitionStats is how far a clicks partition is. Next and End are offsets.
type PartitionStats struct {
	Next, End, MaxTime int64
	Paused             bool
	RecordTime         int64     // timestamp of the newest record read, microseconds; join.NoTime: none
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
	Time            int64     // event time of the last row committed; join.NoTime: none yet
	RecordTime      int64     // timestamp of its record
	AtEnd           time.Time // when it was last known to be committed up to its end; zero: never
}

// OthersStats counts the group's shards that this instance does not own.
type OthersStats struct {
	Owned   int // by other instances
	Unowned int // by nobody
}

// Stats returns how the pipeline stands. Safe for concurrent use.
func (p *Pipeline) Stats() Stats {
	p.mu.Lock()
	st, sink, mirror := p.stats, p.sink, p.mirror
	p.mu.Unlock()
	st.Started, st.Fenced = p.start, p.fence.Load()
	st.Committing, st.Naming = p.committing.total(), p.naming.total()
	if sink != nil {
		st.Sink = sink.Stats()
	}
	if mirror != nil {
		st.Users = mirror.Stats()
	}
	return st
}

// counts is what the loop adds up.
type counts struct {
	clicks, clicksBytes       int64
	checkouts, checkoutsBytes int64
	result                    sink.Result
	transactions              int64
	took                      time.Duration
	delay                     DelayStats
}

func (c *counts) committed(m *jobDone) {
	c.transactions++
	c.took += m.took
	c.delay.Rows += m.delay.Rows
	c.delay.Total += m.delay.Total
	r := &m.result
	c.result.Fresh += r.Fresh
	c.result.Attributed += r.Attributed
	c.result.Duplicates += r.Duplicates
	c.result.Conflicts += r.Conflicts
	c.result.Refused += r.Refused
	c.result.Unclicked += r.Unclicked
	c.result.Corrected += r.Corrected
	c.result.DeadLetters += r.DeadLetters
	c.result.Late += r.Late
	c.result.Unknown += r.Unknown
}

// publish makes a picture of the loop for others to look at.
func (l *loop) publish() {
	l.atEnds()
	st := Stats{
		At: wall(), EndsAt: l.endsAt, CommittedAt: l.committedAt, Others: l.others, Ready: !l.endsAt.IsZero() && !l.checkoutEndsAt.IsZero(), Watermark: l.core.Watermark(), Window: l.s.window.Stats(),
		ClicksRead: l.counts.clicks, CheckoutsRead: l.counts.checkouts, ClicksBytes: l.counts.clicksBytes, CheckoutsBytes: l.counts.checkoutsBytes,
		Result: l.counts.result, Transactions: l.counts.transactions, InTransaction: l.counts.took, OpenTxnReleases: l.core.OpenTxnReleases,
		FarClicks: l.core.FarClicks, FarCheckouts: l.core.FarCheckouts,
		Held: l.heldBytes(), MaxHeld: l.maxHeld(),
		Delay: l.counts.delay,
	}
	for p, c := range l.core.ClicksStates() {
		st.Clicks = append(st.Clicks, PartitionStats{
			Next: c.Next, End: c.End, MaxTime: c.MaxTime, Paused: l.clicksPaused[int32(p)],
			RecordTime: l.s.p.tally.lastRecord(l.s.cfg.ClicksTopic, int32(p)), AtEnd: l.clicksAtEnd[int32(p)],
		})
	}
	full := l.full()
	for _, s := range l.core.Shards() {
		sh := l.shards[s.Partition]
		n, _ := s.Recents()
		st.Shards = append(st.Shards, ShardStats{
			Partition: s.Partition, Next: s.Next(), End: s.End(), Committed: sh.at.NextOffset, ClicksCommitted: slices.Clone(sh.at.ClicksNext),
			Queued: s.Queued(), Recents: n, MaxReleased: s.MaxReleased(), FinalBefore: s.Final(), Restoring: s.Restoring(),
			Paused: l.checkoutsPaused[s.Partition] || full, Time: sh.time, RecordTime: sh.recordTime, AtEnd: sh.atEnd,
		})
	}
	p := l.s.p
	p.mu.Lock()
	p.stats = st
	p.mu.Unlock()
}
