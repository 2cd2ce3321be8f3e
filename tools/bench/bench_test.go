//go:build realkafka

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The whole bench on a small workload: every phase takes part, and drain's answer is the one that
// SQL gives.
func TestBenchMeasuresEveryPhase(t *testing.T) {
	results := t.TempDir()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-events", "6000", "-rounds", "2", "-results", results, "-name", "small"},
		&out); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	data, err := os.ReadFile(filepath.Join(results, "small.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report Report
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if n := report.Workload.Events(); n != 6000 || report.Workload.Attributed == 0 {
		t.Errorf("%d events, %d rows with a click", n, report.Workload.Attributed)
	}
	for _, name := range phaseNames() {
		if f := report.Medians[name]; f.Wall <= 0 {
			t.Errorf("%s was not measured: %+v", name, f)
		}
	}
	if report.DrainToCopy <= 0 || report.CPUPerMillion <= 0 {
		t.Errorf("no ratios in %s", data)
	}
}

// A drain that is watched is compared with one that is not, and somebody really looked.
func TestBenchWatched(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-watched", "-events", "60000", "-rounds", "1"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	if !bytes.Contains(out.Bytes(), []byte("of alone: time ")) {
		t.Errorf("no ratio: %s", out.Bytes())
	}
}
