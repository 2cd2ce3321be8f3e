package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

// committed is where results for the record are kept.
const committed = "bench/results"

// compareWith sets a report beside an earlier one.
func compareWith(name string, now *Report, out io.Writer) error {
	before, path, err := earlier(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Compared with %s (commit %s):\n\n%s\n", path, before.Commit, comparison(before, now))
	return nil
}

// earlier reads a result file, or finds the newest backlog report that is kept.
func earlier(name string) (*Report, string, error) {
	if name != "last" {
		report, err := readReport(name)
		return report, name, err
	}
	paths, err := filepath.Glob(filepath.Join(committed, "*.json"))
	if err != nil {
		return nil, "", fmt.Errorf("list results: %w", err)
	}
	var newest *Report
	var at string
	for _, path := range paths {
		report, err := readReport(path)
		if err != nil {
			return nil, "", err
		}
		// other benches keep theirs there too
		if len(report.Rounds) > 0 && (newest == nil || report.Began.After(newest.Began)) {
			newest, at = report, path
		}
	}
	if newest == nil {
		return nil, "", errors.New("no results to compare with in " + committed)
	}
	return newest, at, nil
}

func readReport(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var found struct {
		Report
		Rounds json.RawMessage `json:"rounds"` // a list here, a number in other reports
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("read results of %s: %w", path, err)
	}
	if len(found.Rounds) > 0 && found.Rounds[0] == '[' {
		if err := json.Unmarshal(found.Rounds, &found.Report.Rounds); err != nil {
			return nil, fmt.Errorf("read results of %s: %w", path, err)
		}
	}
	return &found.Report, nil
}

// comparison is a table of medians. Another machine, or the same on another day, changes times and
// not so much what they are to bare COPY in the same run, so that both are told. A change less than
// COPY differs from itself is noise.
func comparison(before, now *Report) string {
	noise := max(copyNoise(before), copyNoise(now))
	text := ""
	if a, b := before.Workload.compression(), now.Workload.compression(); a != b {
		text = fmt.Sprintf("The workloads differ: batches were compressed with %s before, with %s now.\n\n", a, b)
	}
	text += "| phase | s before | s now | change | to COPY before | to COPY now | change " +
		"|\n|---|--:|--:|--:|--:|--:|--:|\n"
	for _, name := range phaseNames() {
		a, ok := before.Medians[name]
		b, both := now.Medians[name]
		if !ok || !both {
			continue
		}
		text += fmt.Sprintf("| %s | %.2f | %.2f | %+.0f %% |", name, a.Wall, b.Wall, (b.Wall/a.Wall-1)*100)
		if x, y := before.Medians[phaseCopy].Wall, now.Medians[phaseCopy].Wall; x > 0 && y > 0 {
			was, is := a.Wall/x, b.Wall/y
			text += fmt.Sprintf(" %.2f | %.2f | %+.0f %%", was, is, (is/was-1)*100)
			if math.Abs(is/was-1) <= noise {
				text += " (noise)"
			}
			text += " |\n"
			continue
		}
		text += " | | |\n"
	}
	return text
}

// copyNoise is how far COPY was from itself.
func copyNoise(r *Report) float64 {
	if r.CopyFloor == 0 {
		return 0.05 // before it was measured: what rounds differ by on a quiet machine
	}
	return math.Abs(r.CopyFloor - 1)
}
