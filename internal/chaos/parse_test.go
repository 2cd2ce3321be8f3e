package main

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
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

// The same seed draws the same faults in the same order, whatever the other lanes do; every fault of the tables is drawn.
func TestLanesFollowTheSeed(t *testing.T) {
	draw := func(seed uint64) (names []string) {
		w := &world{opts: options{seed: seed, instances: 3}}
		for _, l := range newLanes(w) {
			for range 200 {
				names = append(names, l.name+" "+l.choose().name)
			}
		}
		return names
	}
	first, again, other := draw(1), draw(1), draw(2)
	if !slices.Equal(first, again) {
		t.Errorf("seed 1 draws differently the second time")
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
