package web

import (
	"context"
	"sync"
	"time"

	"firstclick/pipeline"
)

// historyLength is the number of samples, one a second, that the charts show.
const historyLength = 15 * 60

// sample is what happened in about a second. Rates are per second; shares are of the wall time, 0
// to 1.
type sample struct {
	At          time.Time
	Clicks      float64 // records read
	Checkouts   float64 // records read
	Rows        float64 // fresh rows
	Corrected   float64
	Dead        float64 // dead letters
	Delay       float64 // mean milliseconds from a checkout's record to its row; negative: there was no row
	Behind      float64 // seconds
	Backlog     int64   // records not yet read or not yet written
	WindowBytes int64
	Window      int64 // clicks held
	Committing  float64
	Naming      float64
	Hits        float64
	Misses      float64
	Shards      int
}

// columns are the columns of the history besides its times.
var columns = []struct {
	name string
	of   func(s *sample) float64
}{
	{"clicks", func(s *sample) float64 { return s.Clicks }},
	{"checkouts", func(s *sample) float64 { return s.Checkouts }},
	{"rows", func(s *sample) float64 { return s.Rows }},
	{"corrected", func(s *sample) float64 { return s.Corrected }},
	{"dead", func(s *sample) float64 { return s.Dead }},
	{"delay", func(s *sample) float64 { return s.Delay }},
	{"behind", func(s *sample) float64 { return s.Behind }},
	{"backlog", func(s *sample) float64 { return float64(s.Backlog) }},
	{"window", func(s *sample) float64 { return float64(s.Window) }},
	{"window_mb", func(s *sample) float64 { return float64(s.WindowBytes) / (1 << 20) }},
	{"committing", func(s *sample) float64 { return 100 * s.Committing }},
	{"naming", func(s *sample) float64 { return 100 * s.Naming }},
}

// history returns samples as columns: "t" in seconds since the epoch, the others to a tenth.
func history(samples []sample) map[string][]float64 {
	h := map[string][]float64{}
	for i := range samples {
		s := &samples[i]
		h["t"] = append(h["t"], float64(s.At.UnixMilli())/1000)
		for _, c := range columns {
			h[c.name] = append(h[c.name], float64(int64(c.of(s)*10+0.5))/10)
		}
	}
	return h
}

// feed takes the samples, and holds the last ones.
type feed struct {
	mu      sync.Mutex
	samples []sample // the oldest first; cut to historyLength now and then
	last    pipeline.Stats
}

// take makes a sample of what changed since the last call.
func (f *feed) take(now time.Time, st pipeline.Stats) sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := sample{
		At: now, Delay: -1, Window: st.Window.Clicks, WindowBytes: st.Window.Bytes,
		Backlog: st.Backlog(), Shards: len(st.Shards),
	}
	for i := range st.Shards {
		lag, _ := st.ShardLag(i, now)
		s.Behind = max(s.Behind, lag.Record.Seconds())
	}
	last := &f.last
	if n := len(f.samples); n > 0 && now.After(f.samples[n-1].At) {
		dt := now.Sub(f.samples[n-1].At).Seconds()
		rate := func(now, last int64) float64 { return float64(now-last) / dt }
		share := func(now, last time.Duration) float64 { return min(max((now-last).Seconds()/dt, 0), 1) }
		s.Clicks, s.Checkouts = rate(st.ClicksRead, last.ClicksRead), rate(st.CheckoutsRead, last.CheckoutsRead)
		s.Rows, s.Corrected = rate(st.Result.Fresh, last.Result.Fresh), rate(st.Result.Corrected, last.Result.Corrected)
		s.Dead = rate(st.Result.DeadLetters, last.Result.DeadLetters)
		s.Hits = rate(int64(st.Users.Hits), int64(last.Users.Hits))
		s.Misses = rate(int64(st.Users.Misses), int64(last.Users.Misses))
		s.Committing = share(st.Committing, last.Committing)
		s.Naming = min(share(st.Naming, last.Naming), s.Committing)
		if n := st.DelayRows - last.DelayRows; n > 0 {
			s.Delay = float64((st.Delay - last.Delay).Microseconds()) / float64(n) / 1000
		}
	}
	f.last = st
	if len(f.samples) == 2*historyLength {
		f.samples = append(f.samples[:0], f.samples[historyLength:]...)
	}
	f.samples = append(f.samples, s)
	return s
}

// recent returns up to n samples, the newest last.
func (f *feed) recent(n int) []sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = min(n, len(f.samples))
	return append([]sample{}, f.samples[len(f.samples)-n:]...)
}

// sample takes a sample, and publishes it while somebody looks.
func (p *Page) sample(context.Context) {
	p.feed.take(time.Now(), p.cfg.Stats())
	if p.hub.watched() {
		p.publishNow()
	}
}
