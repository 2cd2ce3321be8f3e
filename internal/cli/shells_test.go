//go:build shells

package cli

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// zsh and fish read their scripts and find nothing wrong.
func TestShellsReadTheirScripts(t *testing.T) {
	checkScript(t, "zsh")
	checkScript(t, "fish")
}

// mandoc finds nothing wrong with the manual pages, except that they have no date: the same source
// gives the same page.
func TestMandocReadsThePages(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := invoke(t.Context(), nil, "man", "--dir", dir); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	said, _ := exec.CommandContext(
		t.Context(),
		"mandoc",
		append(
			[]string{"-T", "lint", "-W", "warning"},
			pages...)...).CombinedOutput() // its exit code also counts the date
	for line := range strings.Lines(string(said)) {
		if !strings.Contains(line, `missing date, using ""`) {
			t.Error(strings.TrimSpace(line))
		}
	}
}
