package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"firstclick/tools/testbed"
)

// Machine is where and on what a report was made.
type Machine struct {
	Began    time.Time         `json:"began"`
	Commit   string            `json:"commit,omitempty"`
	Go       string            `json:"go"`
	System   string            `json:"system"`
	CPU      string            `json:"cpu,omitempty"`
	Cores    int               `json:"cores"`
	Postgres map[string]string `json:"postgres"`
}

func newMachine() Machine {
	return Machine{
		Began: time.Now().UTC().Truncate(time.Second), Commit: commit(), Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: testbed.Processor(), Cores: runtime.NumCPU(),
	}
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("Commit %s on %d cores (%s), %s, Postgres %s, fsync %s, synchronous_commit %s", m.Commit,
		m.Cores, m.CPU, m.Go,
		m.Postgres["server_version"], m.Postgres["fsync"], m.Postgres["synchronous_commit"])
}

// page is a report that people can read.
type page interface{ Markdown() string }

// save prints a report, writes it to NAME.json and NAME.md in the directory of results, and says so
// on out. Without a name it takes what was measured and when.
func save(report page, opts options, what string, began time.Time, out io.Writer) error {
	fmt.Fprintf(out, "\n%s\n", report.Markdown())
	name := cmp.Or(opts.name, what+"-"+began.Format("2006-01-02T150405Z"))
	base := filepath.Join(opts.results, name)
	data, err := json.MarshalIndent(report, "", "  ")
	err = errors.Join(err, os.MkdirAll(opts.results, 0o755))
	if err == nil {
		err = errors.Join(os.WriteFile(base+".json", append(data, '\n'), 0o644),
			os.WriteFile(base+".md", []byte("# "+name+"\n\n"+report.Markdown()), 0o644))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintf(out, "written to %s.json and .md\n", base)
	return nil
}

// commit is the short hash of what is measured, with a plus where the working copy differs; empty
// without git.
func commit() string {
	hash, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(hash))
	if changes, err := exec.Command("git", "status", "--porcelain", "-uno").Output(); err == nil && len(changes) > 0 {
		text += "+"
	}
	return text
}
