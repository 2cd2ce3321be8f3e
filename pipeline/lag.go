package pipeline

import (
	"time"

	"firstclick/join/event"
)

// endsFresh is for how long an answer about the topics' ends says that nothing new is there. Kafka is asked twice a second.
const endsFresh = 5 * time.Second

// Lag is how far a partition is behind.
type Lag struct {
	Records       int64         // to the end that was asked for last
	Record, Event time.Duration // since the timestamp and since the event time of the record where we stand; zero: at the end
}

// ClicksLag is how far the clicks partition Clicks[i] is behind in being read. known is false while it is behind and nothing of it has
// been read.
func (st *Stats) ClicksLag(i int, now time.Time) (lag Lag, known bool) {
	p := &st.Clicks[i]
	return st.lag(p.Next, p.End, p.RecordTime, p.MaxTime, p.AtEnd, now)
}

// ShardLag is how far the shard Shards[i] is behind in being committed. known is as for ClicksLag.
func (st *Stats) ShardLag(i int, now time.Time) (lag Lag, known bool) {
	s := &st.Shards[i]
	return st.lag(s.Committed, s.End, s.RecordTime, s.Time, s.AtEnd, now)
}

// lag: a record that came after an hour of silence is not an hour behind. Whatever is unread came, but for the moment that asking takes,
// after the partition was last at its end, so the lag is no longer than that is ago. When Kafka has not answered for long, we do not
// know of anything that came since, and the lag grows from there.
func (st *Stats) lag(next, end, recordTime, eventTime int64, atEnd, now time.Time) (lag Lag, known bool) {
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
