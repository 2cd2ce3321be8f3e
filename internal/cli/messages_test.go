package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// messages finds in the source the texts that an operator of run can see: log lines above debug,
// and errors that end a run with a text of their own (gaps, settings, what Postgres lacks, what to
// run).
type messages struct {
	t     *testing.T
	found map[string][]string // text: where

	constants map[string]ast.Expr // of the file that is read
}

// logs matches the methods of slog.Logger whose lines are shown by default.
var logs = regexp.MustCompile(`^(Info|Warn|Error)(Context)?$`)

// constant returns the text of a literal, of a constant of the file, of a sum of both, or of the
// format of a Sprintf.
func (m *messages) constant(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			if err == nil {
				return text
			}
		}
	case *ast.BinaryExpr:
		return m.constant(e.X) + m.constant(e.Y)
	case *ast.Ident:
		if value, ok := m.constants[e.Name]; ok {
			return m.constant(value)
		}
	case *ast.CallExpr:
		if called(e) == "fmt.Sprintf" || called(e) == "fmt.Errorf" {
			return m.constant(e.Args[0])
		}
	}
	return "%s" // a value
}

func called(e *ast.CallExpr) string {
	if s, ok := e.Fun.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
		return "." + s.Sel.Name
	}
	return ""
}

func (m *messages) note(text, where string) {
	if text != "" {
		m.found[text] = append(m.found[text], where)
	}
}

func (m *messages) read(path string) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.constants = map[string]ast.Expr{}
	ast.Inspect(file, func(n ast.Node) bool {
		if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			for _, spec := range decl.Specs {
				names := spec.(*ast.ValueSpec)
				for i, value := range names.Values {
					m.constants[names.Names[i].Name] = value
				}
			}
		}
		return true
	})
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			s, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) == 0 {
				return true
			}
			where := files.Position(n.Pos()).String()
			if logs.MatchString(s.Sel.Name) {
				i := 0
				if strings.HasSuffix(s.Sel.Name, "Context") {
					i = 1
				}
				if i < len(n.Args) {
					m.note(m.constant(n.Args[i]), where)
				}
			}
			// The errors of package ending: Gapf(topic, partition, format, ...), Configf(format,
			// ...).
			switch {
			case called(n) == "ending.Gapf":
				m.note(m.constant(n.Args[2]), where)
			case called(n) == "ending.Configf":
				m.note(m.constant(n.Args[0]), where)
			}
			// An error that says what to run is for the operator.
			if text := m.constant(n.Args[0]); (called(n) == "fmt.Errorf" || called(n) == "errors.New") &&
				(strings.Contains(text, "; run") || strings.Contains(text, "run: ")) {
				m.note(text, where)
			}
		case *ast.CompositeLit:
			where := files.Position(n.Pos()).String()
			switch kind, _ := n.Type.(*ast.Ident); {
			case kind == nil:
			case kind.Name == "SetupError" && len(n.Elts) > 1: // problem, what, mend, cause
				m.note(m.constant(n.Elts[1]), where)
			}
		}
		return true
	})
}

// verb matches the verb of a value in a format.
var verb = regexp.MustCompile(`%(\[\d+\])?[-+#0-9.]*[a-zA-Z]`)

// telling is the least length of a piece that identifies a text.
const telling = 20

// listed says whether the page has a text: a piece of it between two values that is long enough, or
// the longest one.
func listed(page, text string) bool {
	pieces := verb.Split(text, -1)
	for i, p := range pieces {
		p, _, _ = strings.Cut(p, "; ")
		p, _, _ = strings.Cut(p, " (topic id")
		pieces[i] = strings.Trim(p, " :;,.()[]\"'")
	}
	longest := slices.MaxFunc(pieces, func(a, b string) int { return len(a) - len(b) })
	return strings.Contains(page, longest) ||
		slices.ContainsFunc(pieces, func(p string) bool { return len(p) >= telling && strings.Contains(page, p) })
}

func TestListed(t *testing.T) {
	for text, want := range map[string]bool{
		"the log of %s was cut at %d": true, "no such %d thing": false,
		"column %s is missing; run: firstclick migrate": true, "%s: it is gone": false,
	} {
		if got := listed("| the log of ... was cut at N | | a column is missing |", text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// docs/operations.md lists every message that an operator of run can see, with its cause and what
// to do.
func TestEveryMessageIsListed(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, there := strings.Cut(string(page), "\n## Messages\n")
	if !there {
		t.Fatal("docs/operations.md has no section Messages")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	m := &messages{t: t, found: map[string][]string{}}
	for _, room := range []string{"pipeline", "cdc", "migrations", "web", "internal/cli", "internal/kafkaconn"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				m.read(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(m.found) < 40 {
		t.Errorf("only %d messages found: the reading of the source does not work any more", len(m.found))
	}
	for text, where := range m.found {
		if !listed(section, text) {
			t.Errorf("%q (%s) is not listed in docs/operations.md, Messages", text, strings.Join(where, ", "))
		}
	}
}
