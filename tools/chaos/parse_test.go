package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"firstclick/tools/testbed"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string // of the error; "": none
	}{
		{nil, ""},
		{[]string{"-seed", "7", "-duration", "1s", "-without", "no-reassert"}, ""},
		{[]string{"-without", "nothing"}, "no-owner-check"},
		{[]string{"-duration", "0s"}, "positive"},
		{[]string{"-rate", "5000"}, "at most 400"},
		{[]string{"-instances", "4"}, "1 to 3"},
		{[]string{"-trial", "soak"}, ""},
		{[]string{"-trial", "soak", "-instances", "1"}, "2 instances"},
		{[]string{"-trial", "patience"}, "takeover"},
		{[]string{"now"}, "now"},
	} {
		var out bytes.Buffer
		opts, err := parse(c.args, &out)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%q: %v", c.args, err)
		case c.says == "" && (opts.instances < 1 || opts.instances > 3):
			t.Errorf("%q: %d instances", c.args, opts.instances)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: %v, want something about %q", c.args, err, c.says)
		}
	}
}

// The same seed draws the same faults in the same order, whatever the other lanes do; every fault
// of the tables is drawn.
func TestLanesFollowTheSeed(t *testing.T) {
	draw := func(seed uint64, more ...string) (names []string) {
		w := &world{opts: options{seed: seed, instances: 3, expire: len(more) > 0}}
		for _, l := range newLanes(w) {
			for range 200 {
				if slices.Contains(more, l.name) {
					l.choose()
					continue
				}
				names = append(names, l.name+" "+l.choose().name)
			}
		}
		return names
	}
	first, again, other := draw(1), draw(1), draw(2)
	if !slices.Equal(first, again) {
		t.Errorf("seed 1 draws differently the second time")
	}
	if !slices.Equal(first, draw(1, "retention")) {
		t.Errorf("a lane more moves what the others draw")
	}
	if slices.Equal(first, other) {
		t.Errorf("seeds 1 and 2 draw the same")
	}
	for _, l := range newLanes(&world{}) {
		for _, f := range l.faults {
			if !slices.Contains(first, l.name+" "+f.name) {
				t.Errorf("%s: %s is never drawn", l.name, f.name)
			}
			if d := between(rand.New(rand.NewPCG(1, 1)), f.least, f.most); d < f.least || d > f.most {
				t.Errorf("%s lasts %v: want %v to %v", f.name, d, f.least, f.most)
			}
		}
	}
}

// A trial sets what it needs; a flag that is given counts more.
func TestTrialsAndFlags(t *testing.T) {
	for name := range trials() {
		opts, err := parse([]string{"-trial", name}, &bytes.Buffer{})
		if err != nil || opts.trial != name {
			t.Errorf("%s: %+v, %v", name, opts, err)
		}
	}
	opts, err := parse([]string{"-trial", "soak", "-duration", "7m", "-rate", "900"}, &bytes.Buffer{})
	if err != nil || opts.duration != 7*time.Minute || opts.rate != 900 || opts.instances != 2 || opts.spared != 1 {
		t.Errorf("%+v, %v", opts, err)
	}
}

func TestSoakTellsALeakFromUse(t *testing.T) {
	for name, c := range map[string]struct {
		goroutines func(at time.Duration) float64
		wrong      int
	}{
		"flat":               {func(time.Duration) float64 { return 60 }, 0},
		"up and down":        {func(at time.Duration) float64 { return 60 + float64(at/second%20) }, 0},
		"two a minute":       {func(at time.Duration) float64 { return 60 + 2*at.Minutes() }, 1},
		"less in the end":    {func(at time.Duration) float64 { return 90 - at.Minutes() }, 0},
		"could not be asked": {func(time.Duration) float64 { return -1 }, 1},
	} {
		w := &world{opts: options{duration: 30 * time.Minute}, out: testbed.NewLog(io.Discard)}
		var samples []sample
		for at := time.Duration(0); at < w.opts.duration; at += sampleEvery {
			of := map[string]float64{}
			for _, f := range flatFigures {
				of[f.name] = 1
			}
			if of["goroutines"] = c.goroutines(at); of["goroutines"] < 0 {
				delete(of, "goroutines")
			}
			samples = append(samples, sample{at: at, of: of})
		}
		w.compareSamples(samples)
		if len(w.wrong) != c.wrong {
			t.Errorf("%s: %q", name, w.wrong)
		}
	}
}

func TestGapsAndTakeoversAsSeenFromOutside(t *testing.T) {
	base := time.Now()
	at := func(n int) time.Time { return base.Add(time.Duration(n) * second) }
	s := &shardsWatch{landings: map[int32][]landing{
		0: {{at(1), "one"}, {at(2), "one"}, {at(9), "two"}, {at(10), "two"}},
		1: {{at(1), "two"}, {at(4), "two"}, {at(8), "two"}},
	}, owner: map[int32]string{0: "two", 1: "two", 2: "one"}}
	if d := s.gap([]int32{1}, at(0), at(10)); d != 4*second {
		t.Errorf("gap %v", d)
	}
	if d := s.gap([]int32{0, 1}, at(0), at(10)); d != 7*second {
		t.Errorf("gap of both %v", d)
	}
	if first, all := s.firstBy([]int32{0}, "two", at(2)); !all || !first.Equal(at(9)) {
		t.Errorf("taken over at %v, %v", first, all)
	}
	if _, all := s.firstBy([]int32{0, 1}, "one", at(2)); all {
		t.Error("a shard that nobody took over counts")
	}
	if got := s.owned("two"); !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("owned %v", got)
	}
}
