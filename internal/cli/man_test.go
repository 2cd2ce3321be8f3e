package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if _, _, err := invoke(t.Context(), nil, "man", "--dir", dir); err != nil {
		t.Fatal(err)
	}
	all := everyCommand(t)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(all) {
		t.Errorf("%d pages for %d commands, %v", len(files), len(all), err)
	}
	for words, cmd := range all {
		page, err := os.ReadFile(filepath.Join(dir, manName(cmd)+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		alone, _, err := invoke(t.Context(), nil, append([]string{"man"}, strings.Fields(words)...)...)
		if err != nil || alone != string(page) {
			t.Errorf("man %s: %v, another page than in the directory", words, err)
		}
		for _, want := range []string{".TH", ".SH NAME\n", ".SH USAGE\n", ".SH EVERY COMMAND\n", ".SH EXAMPLES\n",
			".SH EXIT STATUS\n", roff(cmd.Short), `\-\-help`} {
			if !strings.Contains(alone, want) {
				t.Errorf("man %s: no %q", words, want)
			}
		}
	}
	if _, _, err := invoke(t.Context(), nil, "man", "run", "--dir", dir); err == nil ||
		!strings.Contains(err.Error(), "leave out run") {
		t.Errorf("a page and all: %v", err)
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"--a-b": `\-\-a\-b`, `a\b`: `a\eb`, ".TH": `\&.TH`, "'so": `\(aqso`, `say "x"`: `say \(dqx\(dq`,
		"`cmd`": "\\`cmd\\`", "plain": "plain",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
