package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func sample() *Report {
	r := &Report{
		Machine:  Machine{Postgres: map[string]string{"server_version": "15.1", "fsync": "on"}},
		Workload: Workload{Clicks: 1_000_000, Checkouts: 500_000, Rows: 500_000, Partitions: 4},
		Rounds: []Round{
			{phaseRead: {Wall: 1}, phaseCopy: {Wall: 2}, phaseDrain: {Wall: 5, CPU: 6, Peak: 300}},
			{phaseRead: {Wall: 3}, phaseCopy: {Wall: 4}, phaseDrain: {Wall: 9, CPU: 8, Peak: 200}},
			{phaseRead: {Wall: 2}, phaseCopy: {Wall: 3}, phaseDrain: {Wall: 6, CPU: 7.5, Peak: 250}},
		},
	}
	r.finish()
	return r
}

func TestReportComparesMedians(t *testing.T) {
	r := sample()
	for name, c := range map[string]struct{ got, want float64 }{
		"drain to copy":           {r.DrainToCopy, 2}, // 6 to 3, not 5 to 2
		"drain to read":           {r.DrainToRead, 3},
		"drain to sorted copy":    {r.DrainToSorted, 0}, // not measured
		"events per second":       {r.EventsPerSec, 250_000},
		"CPU seconds per million": {r.CPUPerMillion, 5},
		"peak":                    {r.PeakMiB, 300}, // the greatest, not the median
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
}

func TestReportWithoutDrain(t *testing.T) {
	r := &Report{Rounds: []Round{{phaseCopy: {Wall: 2}}}}
	r.finish()
	if text := r.Markdown(); strings.Contains(text, phaseDrain) ||
		!strings.Contains(text, "| copy | **2.00** | 2.00 |") {
		t.Errorf("unexpected table:\n%s", text)
	}
}

func TestReportIsSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	r := sample()
	if err := save(r, options{results: dir, name: "one"}, "backlog", r.Began, &out); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "one.json"))
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if again.DrainToCopy != r.DrainToCopy || len(again.Rounds) != 3 || again.Rounds[1][phaseDrain].CPU != 8 {
		t.Errorf("read back %+v", again)
	}
	page, err := os.ReadFile(filepath.Join(dir, "one.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "| time / bare COPY | 2.00 |"; !strings.Contains(string(page), want) {
		t.Errorf("no %q in\n%s", want, page)
	}
}

func TestPhasesFlag(t *testing.T) {
	opts, err := parse([]string{"-phases", "copy,read", "-rounds", "5"}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(opts.phases, ","); got != "copy,read" || opts.rounds != 5 {
		t.Errorf("phases %q, %d rounds", got, opts.rounds)
	}
	for _, args := range [][]string{{"-phases", "read,write"}, {"-events", "0"}, {"more"}} {
		if _, err := parse(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
