//go:build realkafka

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each of the other benches, as small as it goes: it runs, its answers are right, and it tells what it found.
func TestBenchesRunSmall(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"live": {[]string{"-live", "-scenarios", "floor,steady,backlog", "-rates", "500", "-disturbed-rate", "300", "-warm-broker", "0s", "-warm-up", "1s",
			"-length", "2s", "-backlog", "5000"}, []string{"| 500 | steady |", "5000 clicks on one partition"}},
		"scale": {[]string{"-scale", "keys,window,start-up", "-scale-events", "3000", "-rounds", "1", "-live-clicks", "10000"},
			[]string{"| keys | one key has every click |", "| window | 10000 live clicks |", "| start-up |"}},
	} {
		t.Run(name, func(t *testing.T) {
			results := t.TempDir()
			var out bytes.Buffer
			if err := run(t.Context(), append(c.args, "-results", results, "-name", "small"), &out); err != nil {
				t.Fatalf("%v\n%s", err, out.Bytes())
			}
			page, err := os.ReadFile(filepath.Join(results, "small.md"))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(string(page), want) {
					t.Errorf("no %q in\n%s", want, page)
				}
			}
		})
	}
}
