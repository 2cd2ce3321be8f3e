package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// part is a part of the repository: the product or the tools.
type part struct {
	name         string
	lines, tests int               // packages that only tests import count as tests
	lengths      []int             // of the files that are not tests
	long         int               // files over maxLines, tests included
	calls        map[string]*calls // by package directory
}

// figures prints the lines of product and tools, and the share of functions that are called once in
// their package.
func figures(files []string, out io.Writer) error {
	product, tools := part{name: "product", calls: map[string]*calls{}}, part{name: "tools", calls: map[string]*calls{}}
	for _, file := range files {
		p := &product
		if strings.HasPrefix(file, "tools/") || strings.HasPrefix(file, "internal/kafkabroker/") {
			p = &tools
		}
		if err := p.add(file); err != nil {
			return err
		}
	}
	for _, p := range []part{product, tools} {
		p.print(out)
	}
	return nil
}

func (p *part) add(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed, and not yet committed
	}
	if err != nil {
		return err
	}
	lines := bytes.Count(text, []byte("\n"))
	if lines > maxLines {
		p.long++
	}
	dir := filepath.Dir(file)
	if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(dir, "test") {
		p.tests += lines
		return nil
	}
	p.lines += lines
	p.lengths = append(p.lengths, lines)
	if p.calls[dir] == nil {
		p.calls[dir] = &calls{declared: map[string]int{}, called: map[string]int{}}
	}
	return p.calls[dir].add(file, text)
}

func (p *part) print(out io.Writer) {
	slices.Sort(p.lengths)
	fmt.Fprintf(out, "%s: %d lines, %d of tests; %d files, median %d lines, longest %d, %d over %d\n", p.name, p.lines,
		p.tests,
		len(p.lengths), p.lengths[len(p.lengths)/2], p.lengths[len(p.lengths)-1], p.long, maxLines)
	functions, once := 0, 0
	for _, dir := range slices.Sorted(maps.Keys(p.calls)) {
		n, of := p.calls[dir].once(), p.calls[dir].functions()
		functions, once = functions+of, once+n
		if of > 0 {
			fmt.Fprintf(out, "  %-24s %4d functions, %4d called once: %2d %%\n", dir, of, n, 100*n/of)
		}
	}
	fmt.Fprintf(out, "  %-24s %4d functions, %4d called once: %2d %%\n\n", "all", functions, once, 100*once/functions)
}

// calls counts by name how often a package declares functions and methods, and calls something of
// that name. Tests do not count.
type calls struct{ declared, called map[string]int }

func (c *calls) add(path string, text []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			c.declared[n.Name.Name]++
		case *ast.CallExpr:
			c.called[calledName(n.Fun)]++
		}
		return true
	})
	return nil
}

// calledName is the last part of what is called: F of F(), x.F() and F[T]().
func calledName(called ast.Expr) string {
	switch e := called.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.IndexExpr:
		return calledName(e.X)
	}
	return ""
}

func (c *calls) functions() (n int) {
	for _, times := range c.declared {
		n += times
	}
	return n
}

// once counts the functions whose name the package declares once and calls once.
func (c *calls) once() (n int) {
	for name, times := range c.declared {
		if times == 1 && c.called[name] == 1 {
			n++
		}
	}
	return n
}
