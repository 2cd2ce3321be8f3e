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

// sample is what is in use at one moment, by the names of figures. What is missing could not be
// read: the server was down.
type sample struct {
	at time.Duration // since the faults began
	of map[string]float64
}

// flatFigures have to stay flat. slack is what they may grow by between two looks, beyond a fifth.
// metric is the first instance's; "": of Postgres.
var flatFigures = []struct {
	name, metric string
	unit, slack  float64
}{
	{"resident MiB", "process_resident_memory_bytes", 1 << 20, 64},
	{"heap MiB", "go_memstats_heap_inuse_bytes", 1 << 20, 64},
	{"goroutines", "go_goroutines", 1, 15},
	{"descriptors", "process_open_fds", 1, 10},
	{"Postgres sessions", "", 1, 6},
	{"slots", "", 1, 1},
	{"temporary files", "", 1, 2}, // of instances and of Postgres
}

const sampleEvery = 5 * second

// soak is the usual run, with samples.
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
			var parts []string
			for _, f := range flatFigures {
				parts = append(parts, fmt.Sprintf("%s %.0f", f.name, s.of[f.name]))
			}
			w.out.Say("soak      | %.0f rows, %.0f clicks held; %s", s.of["rows"], s.of["window"],
				strings.Join(parts, ", "))
		}
	}
	return all
}

func (w *world) sample(ctx context.Context) sample {
	s := sample{of: map[string]float64{}}
	ctx, cancel := context.WithTimeout(ctx, 4*second)
	defer cancel()
	if metrics, err := w.slots[0].instance().Metrics(ctx); err == nil {
		for _, f := range flatFigures {
			if f.metric != "" {
				s.of[f.name] = metrics[f.metric] / f.unit
			}
		}
		s.of["window"] = metrics["firstclick_window_clicks"]
	}
	var sessions, slots, files, rows float64
	err := w.db.Row(ctx, `SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'chaos-%'),
			(SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_ls_tmpdir()),
			(SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'attributed_checkouts')`,
		nil, &sessions, &slots, &files, &rows)
	if err == nil {
		s.of["Postgres sessions"], s.of["slots"], s.of["rows"] = sessions, slots, rows
		_ = filepath.WalkDir(w.temporary(), func(_ string, e fs.DirEntry, err error) error { // files may go meanwhile
			if err == nil && !e.IsDir() {
				files++
			}
			return nil
		})
		s.of["temporary files"] = files
	}
	return s
}

// compareSamples holds the end against five minutes after the start, or half of a shorter run: the
// window has to be full. Each look is the median over a while, for what is in use goes up and down
// with the faults.
func (w *world) compareSamples(samples []sample) {
	early, span := min(w.opts.duration/2, 5*time.Minute), max(w.opts.duration/15, 30*second)
	for _, f := range flatFigures {
		between := func(from, to time.Duration) (values []float64) {
			for _, s := range samples {
				if v, known := s.of[f.name]; known && s.at >= from && s.at <= to {
					values = append(values, v)
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
