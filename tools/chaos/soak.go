package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firstclick/tools/testbed"
)

// A soak tells a leak from use. The first instance is never killed, only frozen, fenced and cut
// off, so that what a session, a takeover or a lost connection leaves behind piles up in one
// process; the others come and go, so that what a dead instance leaves in Postgres piles up too.

// sample is what is in use at one moment. What could not be asked is -1: the server was down.
type sample struct {
	at         time.Duration // since the faults began
	resident   float64       // bytes, of the first instance
	heap       float64       // likewise, in use
	goroutines float64       // likewise
	files      float64       // descriptors, likewise
	sessions   float64       // of all instances in Postgres
	slots      float64
	left       float64 // temporary files of instances and of Postgres
	window     float64 // clicks held, of the first instance
	rows       float64
}

// figures of a sample that have to stay flat. slack is what they may grow by between two looks,
// beyond a fifth.
func figures() []struct {
	name  string
	unit  float64
	slack float64
	of    func(s *sample) float64
} {
	return []struct {
		name  string
		unit  float64
		slack float64
		of    func(s *sample) float64
	}{
		{"resident MiB", 1 << 20, 64, func(s *sample) float64 { return s.resident }},
		{"heap MiB", 1 << 20, 64, func(s *sample) float64 { return s.heap }},
		{"goroutines", 1, 15, func(s *sample) float64 { return s.goroutines }},
		{"descriptors", 1, 10, func(s *sample) float64 { return s.files }},
		{"Postgres sessions", 1, 6, func(s *sample) float64 { return s.sessions }},
		{"slots", 1, 1, func(s *sample) float64 { return s.slots }},
		{"temporary files", 1, 2, func(s *sample) float64 { return s.left }},
	}
}

const sampleEvery = 5 * second

// soak is the run of always beside somebody who keeps the books.
func (w *world) soak(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	taken := make(chan []sample, 1)
	go func() { taken <- w.takeSamples(watching) }()
	err := w.suffer(ctx)
	stop()
	samples := <-taken
	if err == nil {
		w.compareSamples(samples)
	}
	return err
}

func (w *world) takeSamples(ctx context.Context) (all []sample) {
	for began := time.Now(); testbed.Pause(ctx, sampleEvery); {
		s := w.sample(ctx)
		s.at = time.Since(began)
		if s.at > w.opts.duration { // what comes now is no longer use
			return all
		}
		all = append(all, s)
		if len(all)%12 == 0 {
			w.out.Say("soak      | %.0f rows, %.0f clicks held; %s", s.rows, s.window, s.text())
		}
	}
	return all
}

func (s *sample) text() string {
	var parts []string
	for _, f := range figures() {
		parts = append(parts, fmt.Sprintf("%s %.0f", f.name, f.of(s)/f.unit))
	}
	return strings.Join(parts, ", ")
}

func (w *world) sample(ctx context.Context) sample {
	s := sample{resident: -1, heap: -1, goroutines: -1, files: -1, sessions: -1, slots: -1, left: -1, window: -1,
		rows: -1}
	ctx, cancel := context.WithTimeout(ctx, 4*second)
	defer cancel()
	if metrics, err := w.slots[0].instance().Metrics(ctx); err == nil {
		s.resident, s.heap, s.goroutines = metrics["process_resident_memory_bytes"],
			metrics["go_memstats_heap_inuse_bytes"], metrics["go_goroutines"]
		s.files, s.window = metrics["process_open_fds"], metrics["firstclick_window_clicks"]
	}
	err := w.db.Row(ctx, `SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'chaos-%'),
			(SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_ls_tmpdir()),
			(SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'attributed_checkouts')`,
		nil, &s.sessions, &s.slots, &s.left, &s.rows)
	if err == nil {
		s.left += float64(countFiles(w.temporary()))
	}
	return s
}

func countFiles(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error { // files may go while we look
		if err == nil && !e.IsDir() {
			n++
		}
		return nil
	})
	return n
}

// compareSamples holds the end against five minutes after the start, or half of a shorter run: the
// window has to be full. Each look is the median over a while, for what is in use goes up and down
// with the faults.
func (w *world) compareSamples(samples []sample) {
	early, span := min(w.opts.duration/2, 5*time.Minute), max(w.opts.duration/15, 30*second)
	for _, f := range figures() {
		between := func(from, to time.Duration) (values []float64) {
			for i := range samples {
				if v := f.of(&samples[i]); samples[i].at >= from && samples[i].at <= to && v >= 0 {
					values = append(values, v/f.unit)
				}
			}
			slices.Sort(values)
			return values
		}
		first, last := between(early-span/2, early+span/2), between(w.opts.duration-span, w.opts.duration)
		if len(first) == 0 || len(last) == 0 {
			w.blame("%s: not known at %v or at %v", f.name, early, w.opts.duration)
			continue
		}
		a, b := first[len(first)/2], last[len(last)/2]
		w.out.Say("%-18s %8.0f at %v (%.0f to %.0f), %8.0f at %v (%.0f to %.0f)", f.name, a, early.Round(second),
			first[0], first[len(first)-1],
			b, w.opts.duration, last[0], last[len(last)-1])
		if b > a*1.2+f.slack {
			w.blame("%s is not flat: %.0f at %v, %.0f at %v", f.name, a, early, b, w.opts.duration)
		}
	}
}
