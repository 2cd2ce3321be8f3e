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
	put("GO-2026-0002.json", `{"id":"GO-2026-0002","modified":"2026-03-04T00:00:00Z","withdrawn":"2026-03-04T00:00:00Z","affected":[{"package":{"name":"a"}}]}`)
	n, last, err := write(from, to)
	if err != nil || n != 2 || last != "GO-2026-0002" {
		t.Errorf("%d, %s, %v", n, last, err)
	}
	for name, want := range map[string]string{
		"index/db.json":        `{"modified":"2026-03-04T00:00:00Z"}`,
		"index/modules.json":   `[{"path":"a","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z","fixed":"1.2.3"}]},{"path":"b","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z"}]}]`,
		"index/vulns.json":     `[{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z","aliases":["CVE-1"]},{"id":"GO-2026-0002","modified":"2026-03-04T00:00:00Z"}]`,
		"ID/GO-2026-0002.json": `{"id":"GO-2026-0002","modified":"2026-03-04T00:00:00Z","withdrawn":"2026-03-04T00:00:00Z","affected":[{"package":{"name":"a"}}]}`,
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
