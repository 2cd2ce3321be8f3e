package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if _, _, err := write(from, to); err == nil {
		t.Error("a database of nothing")
	}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("GO-2026-0001.json", `{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z","aliases":["CVE-1"],"affected":[
		{"package":{"name":"a"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"1.2.3"}]}]},
		{"package":{"name":"b"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"1.0.0"},{"introduced":"1.1.0"}]}]}]}`)
	put("GO-2026-0002.json",
		`{"id":"GO-2026-0002","modified":"2026-03-04T00:00:00Z","withdrawn":"2026-03-04T00:00:00Z",`+
			`"affected":[{"package":{"name":"a"}}]}`)
	n, last, err := write(from, to)
	if err != nil || n != 2 || last != "GO-2026-0002" {
		t.Errorf("%d, %s, %v", n, last, err)
	}
	for name, want := range map[string]string{
		"index/db.json": `{"modified":"2026-03-04T00:00:00Z"}`,
		"index/modules.json": `[{"path":"a","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z",` +
			`"fixed":"1.2.3"}]},` +
			`{"path":"b","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z"}]}]`,
		"index/vulns.json": `[{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z","aliases":["CVE-1"]},` +
			`{"id":"GO-2026-0002","modified":"2026-03-04T00:00:00Z"}]`,
		"ID/GO-2026-0002.json": `{"id":"GO-2026-0002","modified":"2026-03-04T00:00:00Z",` +
			`"withdrawn":"2026-03-04T00:00:00Z","affected":[{"package":{"name":"a"}}]}`,
	} {
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	put("GO-2026-0003.json", `{}`)
	if _, _, err := write(from, to); err == nil || !strings.Contains(err.Error(), "GO-2026-0003") {
		t.Errorf("a report of nothing: %v", err)
	}
}

func TestJudge(t *testing.T) {
	const config = `{"config":{"go_version":"go1.26.8"}}{"osv":{"id":"GO-1","summary":"bad\nthing"}}`
	finding := func(id, module, function, fixed string) string {
		return `{"finding":{"osv":"` + id + `","fixed_version":"` + fixed + `","trace":[{"module":"` + module +
			`","version":"v1","package":"p","function":"` + function + `"}]}}`
	}
	for name, row := range map[string]struct {
		in, says string
		fails    bool
	}{
		"nothing":                 {config, "0 vulnerabilities of modules are called, 0 of Go's", false},
		"imported and not called": {config + finding("GO-1", "m", "", "v2"), "0 vulnerabilities", false},
		"of Go": {config + finding("GO-1", "stdlib", "F", "v1.26.9"),
			"GO-1 p v1, mended by v1.26.9: bad thing\n0 vulnerabilities of modules are called, 1 of Go's own " +
				"packages with go1.26.8", false},
		"of a module, by two paths": {config + finding("GO-1", "m", "F", "") + finding("GO-1", "m", "G", ""),
			"mended by no version so far: bad thing\n1 vulnerabilities", true},
		"cut off": {config + `{"finding":`, "", true},
		"no word": {"", "", true},
	} {
		var out strings.Builder
		err := judge(strings.NewReader(row.in), &out)
		if (err != nil) != row.fails || !strings.Contains(out.String(), row.says) {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
}
