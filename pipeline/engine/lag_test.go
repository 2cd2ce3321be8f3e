package engine

import (
	"testing"
	"time"

	"firstclick/join/event"
)

func TestLag(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMicro() }
	for _, c := range []struct {
		name                  string
		next, end             int64
		recordTime, eventTime int64
		atEnd, asked          time.Time
		want                  Lag
		known                 bool
	}{
		{name: "idle for an hour: zero, not growing", next: 7, end: 7, recordTime: ago(time.Hour),
			eventTime: ago(time.Hour), atEnd: now, asked: now, known: true},
		{name: "a record after an hour of silence is not an hour behind", next: 7, end: 8, recordTime: ago(time.Hour),
			eventTime: ago(2 * time.Hour),
			atEnd:     now.Add(-20 * time.Millisecond), asked: now,
			want: Lag{1, 20 * time.Millisecond, 20 * time.Millisecond}, known: true},
		{name: "a backlog", next: 7, end: 1007, recordTime: ago(time.Hour), eventTime: ago(2 * time.Hour), asked: now,
			want: Lag{1000, time.Hour, 2 * time.Hour}, known: true},
		{name: "nothing read yet", next: 7, end: 8, recordTime: event.NoTime, eventTime: event.NoTime, asked: now,
			want: Lag{Records: 1}},
		{name: "no end known yet", next: 7, end: -1, recordTime: event.NoTime, eventTime: event.NoTime, asked: now},
		{name: "Kafka is silent: at its end a minute ago, not known since", next: 7, end: 7,
			recordTime: ago(time.Hour), eventTime: ago(time.Hour),
			atEnd: now.Add(-time.Minute), asked: now.Add(-time.Minute), want: Lag{0, time.Minute, time.Minute},
			known: true},
		{name: "clocks that disagree", next: 7, end: 8, recordTime: ago(-time.Second), eventTime: ago(-time.Minute),
			asked: now, want: Lag{Records: 1}, known: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := Status{
				EndsAt: c.asked,
				Clicks: []PartitionStats{{Next: c.next, End: c.end, RecordTime: c.recordTime, MaxTime: c.eventTime,
					AtEnd: c.atEnd}},
				Shards: []ShardStats{{Committed: c.next, End: c.end, RecordTime: c.recordTime, Time: c.eventTime,
					AtEnd: c.atEnd}},
			}
			if lag, known := st.ClicksLag(0, now); lag != c.want || known != c.known {
				t.Errorf("clicks: %+v, %v; want %+v, %v", lag, known, c.want, c.known)
			}
			if lag, known := st.ShardLag(0, now); lag != c.want || known != c.known {
				t.Errorf("shard: %+v, %v; want %+v, %v", lag, known, c.want, c.known)
			}
		})
	}
}
