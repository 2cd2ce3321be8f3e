package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/pipeline/rules"
	"firstclick/pipeline/sink"
)

// Status is how an attempt is doing, at most a tick old.
type Status struct {
	At            time.Time
	EndsAt        time.Time // when Kafka last gave the ends of the topics; zero: not yet
	Ready         bool      // Kafka has given the ends of both topics
	Clicks        []PartitionStats
	Shards        []ShardStats
	Others        OthersStats
	Watermark     int64 // microseconds; event.NoTime: not known yet
	Window        window.Stats
	CommittedAt   time.Time // the end of the last transaction; zero: none yet
	Held, MaxHeld int64     // bytes of checkouts on their way to Postgres; at the most no more are polled
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
	Queued, Open    int // checkouts that wait for release, and released ones that are not final
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

// status is what the engine notes for its Status.
type status struct {
	endsAt, checkoutEndsAt time.Time           // the last answers, of clicks and of checkouts
	committedAt            time.Time           // the last transaction
	clicksAtEnd            map[int32]time.Time // when a partition was last read up to its end
	others                 OthersStats
	counted                [3]int64 // see count
}

// publish makes the Status that others look at. It notes which partitions are at the last known
// ends: whatever they lag behind later came after that.
func (e *Engine) publish() {
	e.count()
	s := &e.status
	st := &Status{
		At: rules.Wall(), EndsAt: s.endsAt, CommittedAt: s.committedAt, Others: s.others,
		Ready:     !s.endsAt.IsZero() && !s.checkoutEndsAt.IsZero(),
		Watermark: e.Core.Watermark(), Window: e.Window.Stats(), Held: e.shards.held(), MaxHeld: e.pressure.most(),
	}
	for p, c := range e.Core.ClicksStates() {
		if c.End >= 0 && c.Next >= c.End {
			s.clicksAtEnd[int32(p)] = s.endsAt
		}
		st.Clicks = append(st.Clicks, PartitionStats{
			Next: c.Next, End: c.End, MaxTime: c.MaxTime, Paused: e.pressure.clicks[int32(p)],
			RecordTime: e.Kafka.ClickRecordTime(int32(p)), AtEnd: s.clicksAtEnd[int32(p)],
		})
	}
	full := e.pressure.full(e.shards)
	for _, c := range e.Core.Shards() {
		sh := e.shards[c.Partition]
		if sh.End() >= 0 && sh.Readable() && sh.at.NextOffset >= sh.End() {
			sh.atEnd = s.checkoutEndsAt
		}
		n, _ := c.Open()
		st.Shards = append(st.Shards, ShardStats{
			Partition: c.Partition, Next: c.Next(), End: c.End(), Committed: sh.at.NextOffset,
			ClicksCommitted: slices.Clone(sh.at.ClicksNext), Queued: c.Queued(), Open: n,
			MaxReleased: c.MaxReleased(), FinalBefore: c.Final(), Restoring: c.Restoring(),
			Paused: e.pressure.checkouts[c.Partition] || full,
			Time:   sh.time, RecordTime: sh.recordTime, AtEnd: sh.atEnd,
		})
	}
	e.Status.Store(st)
}

// count adds what the core has counted since the last time: its counts begin at 0 in each attempt.
func (e *Engine) count() {
	m, now := e.Metrics, [...]int64{e.Core.FarClicks, e.Core.FarCheckouts, e.Core.OpenTxnReleases}
	for i, counter := range [...]prometheus.Counter{m.FarClicks, m.FarCheckouts, m.OpenTxnReleases} {
		counter.Add(float64(now[i] - e.status.counted[i]))
	}
	e.status.counted = now
}

// Latest remembers the ids of the last rows written, the newest last. The page shows these rows,
// and the table has no index by time. Safe for concurrent use.
type Latest struct {
	mu  sync.Mutex
	ids []event.ID
}

const latestKept = 16

func (l *Latest) written(batches []*sink.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		for i := max(0, len(b.Rows)-latestKept); i < len(b.Rows); i++ {
			l.ids = append(l.ids, b.Rows[i].ID)
		}
	}
	l.ids = slices.Delete(l.ids, 0, max(0, len(l.ids)-latestKept))
}

// IDs are the checkout_ids of at most 16 rows.
func (l *Latest) IDs() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.ids {
		ids = append(ids, l.ids[i].String())
	}
	return ids
}
