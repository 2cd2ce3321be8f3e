package web

import (
	"testing"
	"time"

	"firstclick/pipeline"
	"firstclick/pipeline/sink"
)

// past makes n samples, one a second, the newest at now. of returns the sample of so many seconds
// ago.
func past(now time.Time, n int, of func(ago int) sample) []sample {
	var out []sample
	for ago := n - 1; ago >= 0; ago-- {
		s := of(ago)
		s.At = now.Add(-time.Duration(ago) * time.Second)
		out = append(out, s)
	}
	return out
}

func TestStatus(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	one := []pipeline.ShardStats{{Partition: 0}}
	running := pipeline.Stats{Status: pipeline.Status{At: now, Ready: true, Shards: one}}
	with := func(change func(*pipeline.Stats)) pipeline.Stats {
		st := running
		change(&st)
		return st
	}
	for name, c := range map[string]struct {
		st      pipeline.Stats
		samples []sample
		state   string
		text    string
		detail  string
	}{
		"nothing yet": {pipeline.Stats{}, nil, stateStarting,
			"Starting: waiting for Kafka and Postgres, then reading the stored offsets.", ""},
		"not ready": {with(func(st *pipeline.Stats) { st.Ready = false }), nil, stateStarting,
			"Starting: the group has not settled yet.", ""},
		"joining": {with(func(st *pipeline.Stats) { st.Shards = nil }), nil, stateStarting,
			"Joining the group: no checkouts partition is assigned yet.", ""},
		"lost": {with(func(st *pipeline.Stats) { st.Shards, st.Others.Owned = nil, 4 }),
			past(now, 20, func(ago int) sample { return sample{Shards: ago / 10 * 4} }), stateBehind,
			"Joining the group again: this instance gave up or lost its partitions a moment ago.", ""},
		"Kafka is deaf": {with(func(st *pipeline.Stats) { st.EndsAt = now.Add(-7 * time.Second) }), nil, stateStuck,
			"Kafka does not answer: for 7 s nobody knows where the topics end.", ""},
		"stand-by": {with(func(st *pipeline.Stats) { st.Shards, st.Others.Owned = nil, 4 }), nil, stateOK,
			"Standing by: other instances have all checkouts partitions; the clicks are held ready here.", ""},
		"up to date": {running, past(now, 20, func(int) sample { return sample{Delay: 6.2, Rows: 100} }), stateOK,
			"Up to date: rows appear 6 ms after the checkout.", ""},
		"a moment of catching up is not told of for long": {running, past(now, 4, func(ago int) sample {
			return []sample{{Delay: 12}, {Delay: 11}, {Delay: 8000, Rows: 900}, {Delay: 10}}[ago]
		}), stateOK, "Up to date: rows appear 11 ms after the checkout.", ""},
		"idle": {running, past(now, 20, func(int) sample { return sample{Delay: -1} }), stateOK,
			"Up to date: nothing waits, and no checkout came in the last seconds.", ""},
		"restoring": {with(func(st *pipeline.Stats) { st.Shards = []pipeline.ShardStats{{Restoring: true}} }),
			past(now, 3, func(int) sample { return sample{Delay: -1} }), stateOK,
			"Up to date: open checkouts are being restored, so that late clicks can still correct them.", ""},
		"frozen": {with(func(st *pipeline.Stats) {
			st.At = now.Add(-12 * time.Second)
			st.Clicks = []pipeline.PartitionStats{{Next: 10, End: 11}}
		}), nil, stateStuck, "Standing still for 12 s: 1 record waited when it was last heard of.", ""},
		"Postgres is slow": {running, past(now, 120,
			func(ago int) sample { // 60 s of causes: 55.2 Postgres, 3.4 Kafka, 1.4 users
				s := sample{Behind: float64(87 - ago), Backlog: 18_000 + 100*int64(ago)}
				s.Committing, s.Naming = 0.943, 0.023
				s.Behind = max(s.Behind, 0)
				return s
			}), stateBehind, "87 s behind: 80 s waiting for Postgres, 5 s Kafka, 2 s users; " +
			"caught up in about 3 min.", ""},
		"Postgres is down": {with(func(st *pipeline.Stats) { st.Sink = sink.Stats{LastError: "connection refused"} }),
			past(now, 30, func(ago int) sample {
				return sample{Behind: max(float64(12-ago), 0), Backlog: int64(max(12-ago, 0)) * 50, Committing: 1}
			}), stateBehind, "12 s behind: 12 s waiting for Postgres; 600 records to go, not catching up so " +
				"far.", "connection refused"},
		"Kafka came back": {running, past(now, 20, func(ago int) sample {
			return sample{Delay: []float64{12_000,
				11_000}[ago%2], Backlog: 640}
		}), stateBehind,
			"Catching up: rows appear 12 s after the checkout; 640 records to go.", ""},
		"old timestamps, as of mirrored topics, are no lag": {running,
			past(now, 20, func(int) sample { return sample{Delay: 3_600_000} }), stateOK,
			"Up to date: rows appear 60 min after the checkout.", ""},
		"Postgres is down since a moment": {with(func(st *pipeline.Stats) { st.Sink.LastError = "connection refused" }),
			past(now, 30, func(int) sample { return sample{Delay: 6, Backlog: 27} }), stateBehind,
			"Postgres did not take the last rows: it is tried again; 27 records to go.", "connection refused"},
		"Kafka is slow": {running, past(now, 20, func(int) sample { return sample{Behind: 30, Backlog: 5000} }),
			stateBehind,
			"30 s behind: 30 s waiting for Kafka; 5,000 records to go, not catching up so far.", ""},
		"a backlog of unknown age": {running, past(now, 20,
			func(ago int) sample { return sample{Backlog: 1_000_000 + 100_000*int64(ago)} }), stateBehind,
			"Catching up: 1,000,000 records to go; caught up in about 10 s.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := statusOf(now, &c.st, c.samples)
			if want := (status{c.state, c.text, c.detail}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1400 * time.Millisecond: "1 s", 119 * time.Second: "119 s", 125 * time.Second: "2 min 5 " +
			"s", 4 * time.Minute: "4 min", 20*time.Minute + 40*time.Second: "21 min",
		3*time.Hour + 5*time.Minute: "3 h 5 min", 100 * time.Hour: "4 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// The lag of a sample is that of the shard that is furthest behind: the one that the metrics show.
func TestBehindIsTheLagOfTheLastShard(t *testing.T) {
	now := time.Now()
	st := pipeline.Stats{Status: pipeline.Status{EndsAt: now, Shards: []pipeline.ShardStats{
		{Committed: 5, End: 5, AtEnd: now.Add(-time.Hour)},
		{Committed: 5, End: 9, AtEnd: now.Add(-4 * time.Second), RecordTime: now.Add(-time.Hour).UnixMicro()},
		{Committed: 5, End: 6, AtEnd: now.Add(-time.Second), RecordTime: now.Add(-time.Hour).UnixMicro()},
	}}}
	if s := new(feed).take(now, st); s.Behind != 4 || s.Backlog != 5 {
		t.Errorf("%v s behind, %d records", s.Behind, s.Backlog)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	f := &feed{}
	start := time.Now()
	for i := range 3*historyLength + 50 {
		f.take(
			start.Add(time.Duration(i)*time.Second),
			pipeline.Stats{Totals: pipeline.Totals{ClicksRead: int64(i) * 7}},
		)
	}
	h := history(f.recent(historyLength))
	if len(h["t"]) != historyLength || len(h["clicks"]) != historyLength || len(f.samples) > 2*historyLength {
		t.Fatalf(
			"%d times, %d values of %d samples, want %d",
			len(h["t"]),
			len(h["clicks"]),
			len(f.samples),
			historyLength,
		)
	}
	for i, clicks := range h["clicks"] {
		if clicks != 7 || i > 0 && h["t"][i] <= h["t"][i-1] {
			t.Fatalf("sample %d: %v at %v", i, clicks, h["t"][i])
		}
	}
}
