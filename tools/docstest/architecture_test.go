package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each file and function that docs/architecture.md names is there. A row of the tables of a
// record's way has both.
func TestArchitectureNamesWhatIsThere(t *testing.T) {
	text := onePage(t, "docs/architecture.md").text
	source := func(file string) string {
		b, err := os.ReadFile(filepath.Join(top, file))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	declares := func(source, name string) bool {
		pattern := `(?m)^func ` + regexp.QuoteMeta(name) + `\b`
		if receiver, method, is := strings.Cut(name, "."); is {
			pattern = `(?m)^func \(\w* ?\*?` + regexp.QuoteMeta(receiver) + `\) ` + regexp.QuoteMeta(method) + `\b`
		}
		return regexp.MustCompile(pattern).MatchString(source)
	}
	row := regexp.MustCompile("(?m)^\\|.*\\| `([a-z/_]+\\.go)` \\| `([A-Za-z.]+)` \\|$")
	steps := row.FindAllStringSubmatch(text, -1)
	for _, s := range steps {
		if file, function := s[1], s[2]; !declares(source(file), function) {
			t.Errorf("%s has no function %s", file, function)
		}
	}
	if len(steps) < 35 {
		t.Errorf("only %d steps with file and function", len(steps))
	}
	for _, s := range regexp.MustCompile("`([a-z/_]+\\.go)`: `([A-Za-z.]+)`").FindAllStringSubmatch(text, -1) {
		if !declares(source(s[1]), s[2]) {
			t.Errorf("%s has no function %s", s[1], s[2])
		}
	}
	for _, s := range regexp.MustCompile("`([a-z]+/[a-z/_]+(\\.go)?)`").FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(top, s[1])); err != nil {
			t.Errorf("there is no %s", s[1])
		}
	}
}
