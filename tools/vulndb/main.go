package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "write":
		n, last, err := write(filepath.Join(args[1], "data", "osv"), args[2])
		if err != nil {
			return err
		}
		fmt.Printf("%d reports up to %s\n", n, last)
		return nil
	case len(args) == 1 && args[0] == "judge":
		return judge(os.Stdin, os.Stdout)
	}
	return errors.New("takes: write MODULE DATABASE, or judge with what govulncheck -format json says")
}

// report is what the indexes need of one: https://ossf.github.io/osv-schema.
type report struct {
	ID        string    `json:"id"`
	Modified  time.Time `json:"modified"`
	Withdrawn time.Time `json:"withdrawn,omitzero"`
	Aliases   []string  `json:"aliases,omitempty"`
	Affected  []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

// entry is a report in the index of a module.
type entry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"` // the newest version that mends it
}

type indexed struct {
	Path  string  `json:"path"`
	Vulns []entry `json:"vulns"`
}

// listed is a report in the index of reports.
type listed struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases,omitempty"`
}

// write reads all reports and writes the database. It says how many there are, and the last one's
// id. Reports in the module have no times: the database's own are put in when it is published.
func write(from, to string) (n int, last string, err error) {
	var newest time.Time
	paths, err := filepath.Glob(filepath.Join(from, "GO-*.json"))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("there are no reports in %s", from)
	}
	if err != nil {
		return 0, "", err
	}
	slices.Sort(paths)
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			return 0, "", fmt.Errorf("make the database's folder: %w", err)
		}
	}
	modules := map[string]*indexed{}
	var all []listed
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return 0, "", fmt.Errorf("read a report: %w", err)
		}
		var r report
		if err := json.Unmarshal(content, &r); err != nil || r.ID == "" {
			return 0, "", fmt.Errorf("read report %s: %w", filepath.Base(path),
				errors.Join(err, errors.New("no report of the Go vulnerability database")))
		}
		if err := os.WriteFile(filepath.Join(to, "ID", r.ID+".json"), content, 0o644); err != nil {
			return 0, "", fmt.Errorf("write a report: %w", err)
		}
		if r.Modified.After(newest) {
			newest = r.Modified
		}
		all = append(all, listed{r.ID, r.Modified, r.Aliases})
		if r.Withdrawn.IsZero() {
			r.index(modules)
		}
	}
	var byPath []*indexed
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		byPath = append(byPath, modules[path])
	}
	for name, v := range map[string]any{"db": map[string]time.Time{"modified": newest}, "modules": byPath,
		"vulns": all} {
		text, err := json.Marshal(v)
		if err != nil {
			return 0, "", err
		}
		if err := os.WriteFile(filepath.Join(to, "index", name+".json"), text, 0o644); err != nil {
			return 0, "", fmt.Errorf("write the index: %w", err)
		}
	}
	return len(all), all[len(all)-1].ID, nil
}

// index adds the report to every module it is about. Which versions are affected stands in the
// report; the index names the last one that mends it, where each range has an end.
func (r *report) index(modules map[string]*indexed) {
	for _, a := range r.Affected {
		m := modules[a.Package.Name]
		if m == nil {
			m = &indexed{Path: a.Package.Name}
			modules[a.Package.Name] = m
		}
		e := entry{ID: r.ID, Modified: r.Modified}
		for _, span := range a.Ranges {
			for _, event := range span.Events {
				e.Fixed = event.Fixed // "" for an introduction, so that an open end leaves none
			}
		}
		if n := len(m.Vulns); n > 0 && m.Vulns[n-1].ID == r.ID {
			if e.Fixed == "" {
				m.Vulns[n-1].Fixed = ""
			}
			continue
		}
		m.Vulns = append(m.Vulns, e)
	}
}
