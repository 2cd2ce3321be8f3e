package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
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
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), Cores: runtime.NumCPU(),
	}
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("Commit %s on %d cores (%s), %s, Postgres %s, fsync %s, synchronous_commit %s", m.Commit, m.Cores, m.CPU, m.Go,
		m.Postgres["server_version"], m.Postgres["fsync"], m.Postgres["synchronous_commit"])
}

// orDated is the name given, or one of what was measured and when.
func orDated(name, what string, began time.Time) string {
	if name != "" {
		return name
	}
	return what + "-" + began.Format("2006-01-02T150405Z")
}

// save writes NAME.json and NAME.md to dir and says so on out.
func save(report any, dir, name, page string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the results directory: %w", err)
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	base := filepath.Join(dir, name)
	if err := os.WriteFile(base+".json", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(base+".md", []byte("# "+name+"\n\n"+page), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintf(out, "written to %s.json and .md\n", base)
	return nil
}

// commit is the short hash of what is measured, with a plus where the working copy differs; empty without git.
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

// cpuModel is the processor's name where the system tells it.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
