package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// message is what govulncheck -format json writes, one after the other, as far as it is needed
// here:
// https://pkg.go.dev/golang.org/x/vuln/internal/govulncheck.
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
	} `json:"config"`
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV          string `json:"osv"`
		FixedVersion string `json:"fixed_version"`
		Trace        []struct {
			Module   string `json:"module"`
			Version  string `json:"version"`
			Package  string `json:"package"`
			Function string `json:"function"`
		} `json:"trace"`
	} `json:"finding"`
}

// stdlib is what govulncheck calls Go's own packages.
const stdlib = "stdlib"

// judge prints what is called and vulnerable. Of the modules that is for us to mend, and an error;
// of Go's own packages it is for whoever builds, by the Go that mends it, and is said.
func judge(in io.Reader, out io.Writer) error {
	summaries, called, goVersion := map[string]string{}, map[string]string{}, ""
	ours := 0
	for decoder := json.NewDecoder(in); ; {
		var m message
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read what govulncheck says: %w", err)
		}
		switch {
		case m.Config != nil:
			goVersion = m.Config.GoVersion
		case m.OSV != nil:
			summaries[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0 && m.Finding.Trace[0].Function != "":
			at := m.Finding.Trace[0]
			fixed := "by no version so far"
			if m.Finding.FixedVersion != "" {
				fixed = "by " + m.Finding.FixedVersion
			}
			if _, seen := called[m.Finding.OSV]; !seen && at.Module != stdlib {
				ours++
			}
			called[m.Finding.OSV] = fmt.Sprintf("%s %s, mended %s", at.Package, at.Version, fixed)
		}
	}
	if goVersion == "" {
		return errors.New("govulncheck said nothing")
	}
	for _, id := range slices.Sorted(maps.Keys(called)) {
		fmt.Fprintf(out, "%s %s: %s\n", id, called[id], strings.Join(strings.Fields(summaries[id]), " "))
	}
	fmt.Fprintf(out, "%d vulnerabilities of modules are called, %d of Go's own packages with %s\n", ours,
		len(called)-ours, goVersion)
	if ours > 0 {
		return errors.New("modules with known vulnerabilities are called: take newer ones")
	}
	return nil
}
