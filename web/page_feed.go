package web

import (
	"context"
	"maps"
	"sync"
	"time"

	"firstclick/join"
	"firstclick/pipeline"
)

// kept is how many samples, one a second, the charts go back.
const kept = 15 * 60

// sample is what happened in about a second. Rates are per second; shares are of the wall time, 0 to 1.
type sample struct {
	At          time.Time
	Clicks      float64 // records read
	Checkouts   float64 // records read
	Rows        float64 // fresh rows
	Corrected   float64
	Dead        float64 // dead letters
	Delay       float64 // milliseconds from a checkout's record to its row, the mean; negative: no row came
	Behind      float64 // seconds
	Backlog     int64   // records not yet read or not yet written
	WindowBytes int64
	Window      int64 // clicks held
	Committing  float64
	Naming      float64
	Waiting     bool // checkouts are in a queue: for clicks, or for their transaction
	Hits        float64
	Misses      float64
	Commits     float64
	Shards      int
}

// history is the samples as columns, the oldest first; times are seconds since the epoch.
type history struct {
	T          []float64 `json:"t"`
	Clicks     []float64 `json:"clicks"`
	Checkouts  []float64 `json:"checkouts"`
	Rows       []float64 `json:"rows"`
	Corrected  []float64 `json:"corrected"`
	Dead       []float64 `json:"dead"`
	Delay      []float64 `json:"delay"`
	Behind     []float64 `json:"behind"`
	Backlog    []float64 `json:"backlog"`
	Window     []float64 `json:"window"`
	WindowMB   []float64 `json:"window_mb"`
	Committing []float64 `json:"committing"`
	Naming     []float64 `json:"naming"`
}

func (h *history) add(s *sample) {
	h.T = append(h.T, float64(s.At.UnixMilli())/1000)
	h.Clicks = append(h.Clicks, tenth(s.Clicks))
	h.Checkouts = append(h.Checkouts, tenth(s.Checkouts))
	h.Rows = append(h.Rows, tenth(s.Rows))
	h.Corrected = append(h.Corrected, tenth(s.Corrected))
	h.Dead = append(h.Dead, tenth(s.Dead))
	h.Delay = append(h.Delay, tenth(s.Delay))
	h.Behind = append(h.Behind, tenth(s.Behind))
	h.Backlog = append(h.Backlog, float64(s.Backlog))
	h.Window = append(h.Window, float64(s.Window))
	h.WindowMB = append(h.WindowMB, tenth(float64(s.WindowBytes)/(1<<20)))
	h.Committing = append(h.Committing, tenth(100*s.Committing))
	h.Naming = append(h.Naming, tenth(100*s.Naming))
}

func tenth(v float64) float64 { return float64(int64(v*10+0.5)) / 10 }

// feed holds the last samples and how far behind each shard is.
type feed struct {
	mu      sync.Mutex
	samples []sample // a ring once it is full
	next    int
	last    pipeline.Stats
	seen    bool
	shards  map[int32]*waiting
}

func newFeed() *feed { return &feed{shards: map[int32]*waiting{}} }

// waiting remembers when a shard's end moved past what is written: its first mark is when the oldest record that waits came, to a
// second. It holds marks only while something waits.
type waiting struct {
	marks []mark
	seen  time.Time // when it was last looked at
}

type mark struct {
	at  time.Time // zero: before we looked
	end int64
}

const maxMarks = 240 // then every second one is forgotten: the first is exact, the others only have to be near

// A shard that comes back within keepAway is known again; awayFrom tells that it was gone.
const (
	awayFrom = 3 * time.Second
	keepAway = time.Minute
)

// see takes in a look at the shard, and says how long its oldest unwritten record has waited.
func (w *waiting) see(now time.Time, sh *pipeline.ShardStats) time.Duration {
	defer func() { w.seen = now }()
	for len(w.marks) > 0 && w.marks[0].end <= sh.Committed {
		w.marks = w.marks[1:]
	}
	last := sh.Committed
	if n := len(w.marks); n > 0 {
		last = w.marks[n-1].end
	}
	if sh.End > last {
		m := mark{now, sh.End}
		switch {
		case w.seen.IsZero():
			m.at = time.Time{}
		case now.Sub(w.seen) > awayFrom: // it was not ours meanwhile: what waits came since
			m.at = w.seen
		}
		w.marks = append(w.marks, m)
	}
	if len(w.marks) > maxMarks {
		thin := w.marks[:1:1]
		for i := 2; i < len(w.marks); i += 2 {
			thin = append(thin, w.marks[i])
		}
		w.marks = thin
	}
	switch {
	case len(w.marks) == 0:
		return 0
	case !w.marks[0].at.IsZero():
		return now.Sub(w.marks[0].at)
	case sh.RecordTime != join.NoTime && sh.RecordTime != 0: // a backlog from before: as old as the newest record that is written
		return max(now.Sub(time.UnixMicro(sh.RecordTime)), 0)
	}
	return 0
}

// take makes a sample of what changed since the last look.
func (f *feed) take(now time.Time, st pipeline.Stats) sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := sample{At: now, Delay: -1, Window: st.Window.Clicks, WindowBytes: st.Window.Bytes, Backlog: st.Backlog(), Shards: len(st.Shards)}
	var behind time.Duration
	for i := range st.Shards {
		sh := &st.Shards[i]
		s.Waiting = s.Waiting || sh.Queued > 0
		w, known := f.shards[sh.Partition]
		if !known {
			w = &waiting{}
			f.shards[sh.Partition] = w
		}
		behind = max(behind, w.see(now, sh))
	}
	maps.DeleteFunc(f.shards, func(_ int32, w *waiting) bool { return now.Sub(w.seen) > keepAway })
	for _, heard := range []time.Time{st.At, st.EndsAt} {
		// What came since is not known of, and waits all the same.
		if unheard := now.Sub(heard); !heard.IsZero() && unheard >= deafFrom {
			behind = max(behind, unheard)
		}
	}
	s.Behind = behind.Seconds()
	was := &f.last
	if dt := now.Sub(f.lastAt()).Seconds(); f.seen && dt > 0 {
		rate := func(now, was int64) float64 { return float64(now-was) / dt }
		s.Clicks, s.Checkouts = rate(st.ClicksRead, was.ClicksRead), rate(st.CheckoutsRead, was.CheckoutsRead)
		s.Rows, s.Corrected = rate(st.Result.Fresh, was.Result.Fresh), rate(st.Result.Corrected, was.Result.Corrected)
		s.Dead = rate(st.Result.DeadLetters, was.Result.DeadLetters)
		s.Commits = rate(st.Transactions, was.Transactions)
		s.Hits, s.Misses = rate(int64(st.Users.Hits), int64(was.Users.Hits)), rate(int64(st.Users.Misses), int64(was.Users.Misses))
		s.Committing = min(max((st.Committing-was.Committing).Seconds()/dt, 0), 1)
		s.Naming = min(max((st.Naming-was.Naming).Seconds()/dt, 0), s.Committing)
		if n := st.DelayRows - was.DelayRows; n > 0 {
			s.Delay = float64((st.Delay - was.Delay).Microseconds()) / float64(n) / 1000
		}
	}
	f.last, f.seen = st, true
	if len(f.samples) < kept {
		f.samples = append(f.samples, s)
	} else {
		f.samples[f.next] = s
	}
	f.next = (f.next + 1) % kept
	return s
}

// lastAt is when the newest sample was taken.
func (f *feed) lastAt() time.Time {
	if len(f.samples) == 0 {
		return time.Time{}
	}
	return f.samples[(f.next-1+kept)%kept].At
}

// recent returns up to n samples, the newest last.
func (f *feed) recent(n int) []sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = min(n, len(f.samples))
	out := make([]sample, 0, n)
	for i := n; i > 0; i-- {
		out = append(out, f.samples[(f.next-i+kept)%kept])
	}
	return out
}

// sample takes a look, and tells whoever looks at us.
func (p *Page) sample(context.Context) {
	p.feed.take(time.Now(), p.cfg.Stats())
	if p.hub.watched() {
		p.tellNow()
	}
}

// tellNow tells how it stands by the last sample.
func (p *Page) tellNow() {
	if last := p.feed.recent(1); len(last) > 0 {
		st := p.cfg.Stats()
		p.hub.keep("now", p.picture(time.Now(), &st, &last[0]))
	}
}
