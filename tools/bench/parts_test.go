package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	values := make([]int64, 1000)
	for i := range values {
		values[i] = int64(1000-i) * 1_000_000
	}
	if q := quantiles(values); q.Count != 1000 || q.P50 != 501 || q.P99 != 991 || q.P999 != 1000 || q.Max != 1000 {
		t.Errorf("%+v", q)
	}
	if q := quantiles(nil); q != (Quantiles{}) {
		t.Errorf("of nothing: %+v", q)
	}
}

// A checkout is visible at the first look that finds its shard's offset past it.
func TestVisibleAtTheFirstLookPastIt(t *testing.T) {
	w := &watcher{
		load: &load{sent: [][]produced{{{offset: 0}, {offset: 1}, {offset: 2}}}},
		seen: []sight{{at: 10, next: []int64{-1}}, {at: 20, next: []int64{1}}, {at: 30, next: []int64{2}}},
	}
	got := w.visible(0)
	for i, want := range []int64{20, 30, -1} {
		if got[i] != want {
			t.Errorf("checkout %d visible at %d, want %d", i, got[i], want)
		}
	}
	w.load.topics.partitions = 1
	if w.reached() {
		t.Error("reached, although the last one was not seen")
	}
}

// Of two clicks in one millisecond, which is all that the wire tells, the lesser id counts.
func TestAnswerOfALoad(t *testing.T) {
	fast, slow := &load{rate: 1e6}, &load{rate: 10}
	ties := 0
	for session := range int64(100) {
		first, second := clickID(3*session), clickID(3*session+1)
		if got := slow.answer(session); got != first {
			t.Fatalf("session %d: %s, want its first click %s", session, got, first)
		}
		if got := fast.answer(session); got == second {
			ties++
			if second > first {
				t.Fatalf("session %d: %s, want the lesser id %s", session, got, first)
			}
		}
	}
	if ties == 0 {
		t.Error("no second click ever had the lesser id")
	}
}

func TestCompareWithAnEarlierResult(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := save(sample(), options{results: dir, name: "one"}, "backlog", time.Time{}, &out); err != nil {
		t.Fatal(err)
	}
	now := sample()
	for _, round := range now.Rounds {
		f := round[phaseDrain]
		f.Wall /= 2
		round[phaseDrain] = f
	}
	now.finish()
	out.Reset()
	if err := compareWith(filepath.Join(dir, "one.json"), now, &out); err != nil {
		t.Fatal(err)
	}
	if want := "| drain | 6.00 | 3.00 | -50 % | 2.00 | 1.00 | -50 % |"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
	if err := compareWith(filepath.Join(dir, "none.json"), now, &out); err == nil {
		t.Error("compared with a file that is not there")
	}
}
