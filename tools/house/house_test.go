package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWidths(t *testing.T) {
	wide := strings.Repeat("x", 120)
	for name, row := range map[string]struct{ file, text, want string }{
		"code of 120 columns": {"a.go", wide + "\n", ""},
		"code of 121":         {"a.go", "package a\n\n" + "x" + wide + "\n", ":3: a code line of 121"},
		"a tab is 4 columns": {"a.go", "\t" + wide[:116] + "\n\t" + wide[:117] + "\n",
			":2: a code line of 121"},
		"a comment of 101": {"a.go", "// " + wide[:90] + " " + wide[:7] + "\n",
			":1: a comment line of 101"},
		"an address cannot be broken":    {"a.go", "// https://" + wide + "\n", ""},
		"a long file":                    {"a.go", strings.Repeat("\n", 401), ": 401 lines"},
		"a page":                         {"a.md", wide + " y\n", ":1: a page's line of 122"},
		"a table":                        {"a.md", "| " + wide + " |\n", ""},
		"where a link leads is not read": {"a.md", "[" + wide[:100] + "](" + wide + ")\n", ""},
	} {
		path := filepath.Join(t.TempDir(), row.file)
		if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := widths(path, &out); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(out.String(), path); !strings.HasPrefix(got, row.want) ||
			strings.Count(got, "\n") > 1 || (got == "") != (row.want == "") {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
}

func TestCalledOnce(t *testing.T) {
	c := calls{declared: map[string]int{}, called: map[string]int{}}
	if err := c.add("a.go", []byte(`package a
func once()              { twice(); generic[int]() }
func twice()             { once(); x.method() }
func generic[T any]()    { twice() }
func (x) method()        {}
func unused()            {}
func (x) same()          { same() }
func same()              {}
`)); err != nil {
		t.Fatal(err)
	}
	if c.functions() != 7 || c.once() != 3 {
		t.Errorf("%d of %d functions are called once, want 3 of 7: once, generic, method", c.once(), c.functions())
	}
}
