package engine

import (
	"time"

	"firstclick/join/event"
)

// endsFresh is for how long the last known ends say that nothing new has come. They are requested
// twice a second.
const endsFresh = 5 * time.Second

// Lag is how far a partition is behind.
type Lag struct {
	Records int64 // up to the last known end
	// Since the timestamp and the event time of the record where reading stands; 0: at the end.
	Record, Event time.Duration
}

// ClicksLag is how far reading of the clicks partition Clicks[i] is behind. known is false while it
// is behind and nothing of it has been read.
func (st *Status) ClicksLag(i int, now time.Time) (lag Lag, known bool) {
	p := &st.Clicks[i]
	return st.lag(p.Next, p.End, p.RecordTime, p.MaxTime, p.AtEnd, now)
}

// ShardLag is how far committing of the shard Shards[i] is behind. known is as for ClicksLag.
func (st *Status) ShardLag(i int, now time.Time) (lag Lag, known bool) {
	s := &st.Shards[i]
	return st.lag(s.Committed, s.End, s.RecordTime, s.Time, s.AtEnd, now)
}

// lag: a record that came after an hour of silence is not an hour behind. Whatever is unread came
// after the partition was last at its end, so the lag is not longer than that is ago. When Kafka
// has not answered for long, nothing is known of what came since, and the lag grows from there.
func (st *Status) lag(next, end, recordTime, eventTime int64, atEnd, now time.Time) (lag Lag, known bool) {
	lag.Records = max(end-next, 0)
	if end < 0 {
		return lag, false
	}
	if lag.Records == 0 && now.Sub(st.EndsAt) <= endsFresh {
		return lag, true
	}
	since := func(t int64) (time.Duration, bool) {
		from := atEnd
		if t != event.NoTime {
			if at := time.UnixMicro(t); from.IsZero() || at.After(from) {
				from = at
			}
		}
		if from.IsZero() {
			return 0, false
		}
		return max(now.Sub(from), 0), true
	}
	lag.Record, known = since(recordTime)
	lag.Event, _ = since(eventTime)
	return lag, known
}

// Backlog is how many records are not read (clicks) or not committed (checkouts of our shards).
func (st *Status) Backlog() (n int64) {
	for _, p := range st.Clicks {
		n += max(p.End-p.Next, 0)
	}
	for i := range st.Shards {
		n += max(st.Shards[i].End-st.Shards[i].Committed, 0)
	}
	return n
}
