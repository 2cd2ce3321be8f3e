package shape

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong with a declaration.
type Problem struct {
	Line int    // in the file, from 1; 0: of the file as a whole
	Text string // what is wrong, and what to write instead
}

// DeclarationError is everything that is wrong with a declaration, in the order of lines.
type DeclarationError struct {
	File string
	List []Problem
}

// Error lists the problems, a line each.
func (p *DeclarationError) Error() string {
	var b strings.Builder
	for i, one := range p.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		if b.WriteString(p.File); one.Line > 0 {
			fmt.Fprintf(&b, ":%d", one.Line)
		}
		b.WriteString(": " + one.Text)
	}
	return b.String()
}

// maxFile is the size in bytes of a file that is read.
const maxFile = 1 << 20

// Parse reads a file that holds a shape: a document of YAML with the one key shape. name is what
// the file is called in messages. The error is a *DeclarationError.
func Parse(name string, text []byte) (*Shape, error) {
	s, _, err := ParseLines(name, text)
	return s, err
}

// ParseLines is Parse, and tells where in the file each part was declared.
func ParseLines(name string, text []byte) (*Shape, *Lines, error) {
	fail := func(line int, text string) (*Shape, *Lines, error) {
		return nil, nil, &DeclarationError{name, []Problem{{line, text}}}
	}
	if len(text) > maxFile {
		return fail(0, fmt.Sprintf("the file is larger than %d bytes", maxFile))
	}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); err != nil {
		return fail(0, "it is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(yaml.Node)); err == nil {
		return fail(0, "it holds more than one document")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != "shape" {
		return fail(root.Line, "the file holds one key, shape, and below it clicks, checkouts, match, lookups and rows")
	}
	return ParseNode(name, root.Content[1])
}

// Lines tells where in its file each part of a shape was declared.
type Lines struct {
	File    string
	parts   map[string]int
	Columns []int // by index in Rows.Columns
	Lookups []int // by index in Shape.Lookups
	Match   []int // by index in Shape.Match
}

// Of returns the line of a part: clicks, checkouts, clicks.id, rows, rows.table and so on; the
// closest part around it that has a line; 0 if there is none.
func (l *Lines) Of(part string) int {
	for l != nil {
		if line, ok := l.parts[part]; ok {
			return line
		}
		cut := strings.LastIndexByte(part, '.')
		if cut < 0 {
			break
		}
		part = part[:cut]
	}
	return 0
}

// ParseNode reads a shape from what stands below the key shape of a larger document.
func ParseNode(file string, n *yaml.Node) (*Shape, *Lines, error) {
	p := &parser{lines: &Lines{File: file, parts: map[string]int{}}}
	s := p.shape(n)
	if len(p.problems) == 0 {
		p.check(s)
	}
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, nil, &DeclarationError{file, p.problems}
	}
	return s, p.lines, nil
}

// parser collects what is wrong, and goes on.
type parser struct {
	lines    *Lines
	problems []Problem
}

func (p *parser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, Problem{line, fmt.Sprintf(format, args...)})
}

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// mapping returns the entries of a mapping in their order. what names it in messages. words are the
// keys that it may hold; none: any.
func (p *parser) mapping(n *yaml.Node, what string, words ...string) []entry {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		hint := ""
		if len(words) > 0 {
			hint = " with " + strings.Join(words, ", ")
		}
		p.problem(n.Line, "%s: a mapping%s stands here", what, hint)
		return nil
	}
	var entries []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		e := entry{key.Value, key.Line, resolve(value)}
		switch {
		case key.Kind != yaml.ScalarNode:
			p.problem(key.Line, "%s: a key is a word", what)
			continue
		case len(words) > 0 && !slices.Contains(words, e.key):
			p.problem(key.Line, "%s: there is no word %q; the words are %s", what, e.key, strings.Join(words, ", "))
			continue
		case slices.ContainsFunc(entries, func(o entry) bool { return o.key == e.key }):
			p.problem(key.Line, "%s: %q stands here a second time", what, e.key)
			continue
		}
		entries = append(entries, e)
	}
	return entries
}

// require reports the words that a mapping lacks, with why behind each.
func (p *parser) require(n *yaml.Node, line int, what, why string, entries []entry, words ...string) {
	for _, w := range words {
		has := slices.ContainsFunc(entries, func(e entry) bool { return e.key == w })
		if resolve(n).Kind == yaml.MappingNode && !has {
			p.problem(line, "%s: %s is missing%s", what, w, why)
		}
	}
}

// text returns a scalar that is meant as a text.
func (p *parser) text(n *yaml.Node, what string) (string, bool) {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		p.problem(n.Line, "%s: a text stands here", what)
		return "", false
	}
	return n.Value, true
}

// word returns a scalar that is one of words.
func word[T ~string](p *parser, n *yaml.Node, what string, words ...T) T {
	text, ok := p.text(n, what)
	if !ok {
		return ""
	}
	if !slices.Contains(words, T(text)) {
		names := make([]string, len(words))
		for i, w := range words {
			names[i] = string(w)
		}
		p.problem(n.Line, "%s: %q is none of %s", what, text, strings.Join(names, ", "))
		return ""
	}
	return T(text)
}

// path returns a path. In the value of an event $partition and $offset have no place.
func (p *parser) path(n *yaml.Node, what string) Path {
	text, ok := p.text(n, what)
	if !ok {
		return Path{}
	}
	return p.pathOf(resolve(n).Line, text, what)
}

func (p *parser) pathOf(line int, text, what string) Path {
	path, err := ParsePath(text)
	switch {
	case err != nil:
		p.problem(line, "%s: %q is no path: %v", what, text, err)
	case path.Meta == Partition || path.Meta == Offset:
		p.problem(line, "%s: %s may stand in rows.columns only", what, text)
	}
	return path
}

func (p *parser) shape(n *yaml.Node) *Shape {
	s := &Shape{}
	p.lines.parts[""] = n.Line
	entries := p.mapping(n, "shape", "clicks", "checkouts", "match", "lookups", "rows")
	for _, e := range entries {
		p.lines.parts[e.key] = e.line
		switch e.key {
		case "clicks":
			s.Clicks = p.events(e.value, e.key)
		case "checkouts":
			s.Checkouts = p.events(e.value, e.key)
		case "match":
			s.Match = p.matches(e.value)
		case "lookups":
			s.Lookups = p.lookups(e.value)
		}
	}
	for _, e := range entries { // after the lookups, wherever it stands
		if e.key == "rows" {
			s.Rows = p.rows(e.value, s)
		}
	}
	const why = "; a shape takes nothing over from the built-in one"
	p.require(n, n.Line, "shape", why, entries, "clicks", "checkouts", "match", "rows")
	return s
}
