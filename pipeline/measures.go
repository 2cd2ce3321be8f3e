package pipeline

import (
	"maps"
	"slices"
	"sync"
	"time"

	"firstclick/internal/histogram"
	"firstclick/join"
	"firstclick/pipeline/sink"
)

// Measures is what has been counted since New, over all sessions, for monitoring. Stats says how things stand, Measures how they have been.
type Measures struct {
	Group, Instance             string
	ClicksTopic, CheckoutsTopic string
	WindowBudget                int64 // bytes; 0: no bound

	Latency   histogram.Snapshot // seconds from a checkout's record timestamp to the end of the transaction that holds it
	Commit    histogram.Snapshot // seconds that a transaction took, tries and names included
	BatchRows histogram.Snapshot // rows in a transaction that had any
	Result    sink.Result        // summed up

	Read        map[Place]Read
	Undecodable map[Cause]int64 // records read that could not be decoded, or lay too far in the future
	DeadLetters map[Cause]int64 // dead letters committed

	LateCorrected, LateClicks, LateCheckouts int64 // corrections that clicks read late gave rise to; events noted in firstclick.late
	Assigned, Revoked, Lost                  int64 // what the group told this instance; each is part of a rebalance
	Sessions                                 int64 // begun; each after the first began again where Postgres was

	Starts map[string][]int64 // by topic and partition: the first offset that Kafka still has
	Server ServerProbe
}

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

// Cause is why records of a topic became dead letters.
type Cause struct {
	Topic  string
	Reason join.Reason
}

// Read is what has been read of a partition.
type Read struct {
	Records, Bytes int64     // bytes of the values
	RecordTime     int64     // timestamp of the newest record, microseconds; join.NoTime: it has none
	Next           int64     // offset after the newest record
	At             time.Time // when that was read
}

// tally counts. Its methods are safe for concurrent use, and do nothing on nil.
type tally struct {
	latency, commit, rows *histogram.Histogram

	mu   sync.Mutex
	m    Measures
	goOn map[Place]int64 // the offset at which reading of a partition goes on
}

func newTally() *tally {
	return &tally{
		goOn:    map[Place]int64{},
		latency: histogram.New(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
		commit:  histogram.New(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60),
		rows:    histogram.New(1, 4, 16, 64, 256, 1024, 2048, 4096, 8192, 16384),
		m:       Measures{Read: map[Place]Read{}, Undecodable: map[Cause]int64{}, DeadLetters: map[Cause]int64{}, Starts: map[string][]int64{}},
	}
}

// Measures returns what has been counted. Safe for concurrent use.
func (p *Pipeline) Measures() Measures {
	t := p.tally
	t.mu.Lock()
	m := t.m
	m.Read, m.Undecodable, m.DeadLetters, m.Starts = maps.Clone(m.Read), maps.Clone(m.Undecodable), maps.Clone(m.DeadLetters), maps.Clone(m.Starts)
	t.mu.Unlock()
	m.Group, m.Instance, m.ClicksTopic, m.CheckoutsTopic = p.cfg.Group, p.cfg.Instance, p.cfg.ClicksTopic, p.cfg.CheckoutsTopic
	m.WindowBudget = p.cfg.MemoryLimit / 2
	m.Latency, m.Commit, m.BatchRows = t.latency.Snapshot(), t.commit.Snapshot(), t.rows.Snapshot()
	return m
}

// count lets fn change the counts.
func (t *tally) count(fn func(m *Measures)) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(&t.m)
}

// read counts what a poll brought of a partition.
func (t *tally) read(topic string, partition int32, r Read) {
	r.At = wall()
	t.count(func(m *Measures) {
		before := m.Read[Place{topic, partition}]
		r.Records, r.Bytes = r.Records+before.Records, r.Bytes+before.Bytes
		m.Read[Place{topic, partition}] = r
		t.goOn[Place{topic, partition}] = r.Next
	})
}

// placed notes where reading of a partition begins.
func (t *tally) placed(topic string, partition int32, next int64) {
	t.count(func(*Measures) { t.goOn[Place{topic, partition}] = next })
}

// next is the offset at which reading of a partition goes on, for what is said about it; -1: none was ever begun.
func (t *tally) next(topic string, partition int32) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if next, ok := t.goOn[Place{topic, partition}]; ok {
		return next
	}
	return -1
}

func (t *tally) undecodable(topic string, reason join.Reason) {
	t.count(func(m *Measures) { m.Undecodable[Cause{topic, reason}]++ })
}

// landed counts a transaction that has landed.
func (t *tally) landed(checkouts string, j *job, r *sink.Result, took time.Duration) {
	now := wall().UnixMicro()
	rows := 0
	t.latency.Batch(func(add func(v float64, n uint64)) {
		for _, b := range j.batches {
			rows += len(b.Rows)
			eachRun(b.Rows, func(at int64, n uint64) { add(float64(now-at)/1e6, n) })
		}
	})
	t.commit.Observe(took.Seconds())
	if rows > 0 {
		t.rows.Observe(float64(rows))
	}
	t.count(func(m *Measures) {
		addResult(&m.Result, r)
		m.DeadLetters[Cause{checkouts, join.ReasonRefused}] += r.Refused
		m.DeadLetters[Cause{checkouts, join.ReasonRefusedClick}] += r.Unclicked
		m.DeadLetters[Cause{checkouts, join.ReasonConflict}] += r.Conflicts
		for _, b := range j.batches {
			for i := range b.Dead {
				m.DeadLetters[Cause{b.Dead[i].Topic, b.Dead[i].Reason}]++
			}
			for i := range b.Late {
				if b.Late[i].Kind == sink.LateClick {
					m.LateClicks++
				} else {
					m.LateCheckouts++
				}
			}
		}
	})
}

// eachRun calls fn for the timestamps of rows' records, once for those in a row that are equal: they are whole milliseconds.
func eachRun(rows []sink.Row, fn func(at int64, n uint64)) {
	for i := 0; i < len(rows); {
		at, from := rows[i].RecordTime, i
		for i < len(rows) && rows[i].RecordTime == at {
			i++
		}
		if at != join.NoTime {
			fn(at, uint64(i-from))
		}
	}
}

func addResult(sum, r *sink.Result) {
	sum.Fresh += r.Fresh
	sum.Attributed += r.Attributed
	sum.Duplicates += r.Duplicates
	sum.Conflicts += r.Conflicts
	sum.Refused += r.Refused
	sum.Unclicked += r.Unclicked
	sum.Corrected += r.Corrected
	sum.DeadLetters += r.DeadLetters
	sum.Late += r.Late
	sum.Unknown += r.Unknown
}

// started notes where the partitions of a topic begin in Kafka.
func (t *tally) started(topic string, offsets []int64) {
	t.count(func(m *Measures) { m.Starts[topic] = slices.Clone(offsets) })
}

// lastRecord is the timestamp of the newest record read of a partition, or join.NoTime.
func (t *tally) lastRecord(topic string, partition int32) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.m.Read[Place{topic, partition}]; ok {
		return r.RecordTime
	}
	return join.NoTime
}

func (t *tally) assigned() { t.count(func(m *Measures) { m.Assigned++ }) }

func (t *tally) revoked(lost bool) {
	t.count(func(m *Measures) {
		if lost {
			m.Lost++
		} else {
			m.Revoked++
		}
	})
}

// countOthers counts the group's shards that are not ours, of those stored and those that the group began with.
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

// atEnds notes which partitions are read, or written, up to the ends that were asked for last: whatever is behind later came after that.
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
