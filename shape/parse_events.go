package shape

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (p *parser) events(n *yaml.Node, kind string) Events {
	e := Events{Format: JSON}
	entries := p.mapping(n, kind, "topic", "format", "where", "id", "time", "empty")
	for _, w := range entries {
		what := kind + "." + w.key
		p.lines.parts[what] = w.line
		switch w.key {
		case "topic":
			e.Topic = p.topic(w.value, what)
		case "format":
			e.Format = word(p, w.value, what, JSON, Registry)
		case "where":
			e.Where = p.where(w.value, what)
		case "id":
			e.ID = p.id(w.value, what)
		case "time":
			e.Time = p.time(w.value, what)
		case "empty":
			e.SkipEmpty = word(p, w.value, what, "skip") == "skip"
		}
	}
	p.require(n, resolve(n).Line, kind, "", entries, "topic", "id", "time")
	return e
}

func (p *parser) topic(n *yaml.Node, what string) string {
	if n.Kind == yaml.SequenceNode {
		p.problem(n.Line, "%s: one topic stands here, not a list; copy the topics into one first, or run an instance "+
			"with a --group and a table of its own for each", what)
		return ""
	}
	topic, ok := p.text(n, what)
	legal := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
	}
	const longest = 249
	if ok && (len(topic) > longest || topic == "." || topic == ".." || strings.IndexFunc(topic,
		func(r rune) bool { return !legal(r) }) >= 0) {
		p.problem(n.Line, "%s: %q is no name of a topic: letters, digits, dot, _ and -, %d at most", what, topic,
			longest)
	}
	return topic
}

func (p *parser) id(n *yaml.Node, what string) ID {
	id := ID{Type: Text}
	id.From = p.pathOr(n, what, "type", func(n *yaml.Node, what string) {
		id.Type = word(p, n, what, Text, Bigint, UUID)
	})
	return id
}

func (p *parser) time(n *yaml.Node, what string) Time {
	var t Time
	t.From = p.pathOr(n, what, "unit", func(n *yaml.Node, what string) { t.Unit = p.unit(n, what) })
	if t.From.Meta == Timestamp && t.Unit != NoUnit {
		p.problem(n.Line, "%s: $timestamp has its unit already; leave unit out", what)
	}
	return t
}

// pathOr reads a path, or a mapping with the path as from and one word more, which read reads.
func (p *parser) pathOr(n *yaml.Node, what, word string, read func(n *yaml.Node, what string)) (from Path) {
	if n.Kind != yaml.MappingNode {
		return p.path(n, what)
	}
	entries := p.mapping(n, what, "from", word)
	for _, w := range entries {
		if w.key == word {
			read(w.value, what+"."+word)
		} else {
			from = p.path(w.value, what+".from")
		}
	}
	p.require(n, n.Line, what, "", entries, "from")
	return from
}

func (p *parser) unit(n *yaml.Node, what string) Unit {
	return word(p, n, what, Seconds, Milliseconds, Microseconds, Nanoseconds)
}

func (p *parser) where(n *yaml.Node, what string) []Condition {
	var list []Condition
	for _, w := range p.mapping(n, what) {
		c := Condition{Path: p.pathOf(w.line, w.key, what)}
		values := []*yaml.Node{w.value}
		if w.value.Kind == yaml.SequenceNode {
			values = w.value.Content
		}
		if len(values) == 0 {
			p.problem(w.line, "%s: %s: one value or more stand here; no record is one of none", what, w.key)
		}
		for _, v := range values {
			lit, err := literal(resolve(v))
			if err != nil {
				p.problem(v.Line, "%s: %s: %v", what, w.key, err)
				continue
			}
			if !slices.Contains(c.In, lit) {
				c.In = append(c.In, lit)
			}
		}
		if slices.ContainsFunc(list, func(o Condition) bool { return o.Path.Equal(c.Path) }) {
			p.problem(w.line, "%s: %s stands here a second time", what, w.key)
		}
		list = append(list, c)
	}
	if len(list) == 0 && n.Kind == yaml.MappingNode {
		p.problem(n.Line, "%s: a path and its value stand here, as in {event: \"Order Completed\"}", what)
	}
	return list
}

// literal reads a value that a condition compares with.
func literal(n *yaml.Node) (Literal, error) {
	if n.Kind != yaml.ScalarNode {
		return Literal{}, errors.New("a text, a number, true or false stands here, or a list of such")
	}
	switch n.Tag {
	case "!!bool":
		return Literal{Bool, strings.ToLower(n.Value)}, nil
	case "!!int", "!!float":
		text, ok := Decimal(n.Value)
		if !ok {
			return Literal{}, fmt.Errorf("%s is no number of JSON; if it is meant as a text, put it in quotes", n.Value)
		}
		return Literal{Number, text}, nil
	case "!!null":
		return Literal{}, errors.New("null is no value to compare with: a condition holds for values that are there")
	case "!!str":
		switch {
		case n.Style == 0 && slices.Contains([]string{"on", "off", "yes", "no", "y", "n"}, strings.ToLower(n.Value)):
			return Literal{}, fmt.Errorf("put %s in quotes if it is meant as a text; write true or false otherwise",
				n.Value)
		case len(n.Value) > MaxValue:
			return Literal{}, fmt.Errorf("the text is longer than %d bytes", MaxValue)
		}
		return Literal{String, n.Value}, nil
	}
	return Literal{}, fmt.Errorf("%s looks like a %s: put it in quotes if it is meant as a text", n.Value,
		strings.TrimPrefix(n.Tag, "!!"))
}

// MaxValue is the size in bytes of the largest value that a click carries, and that a condition
// compares with.
const MaxValue = 1024

func (p *parser) matches(n *yaml.Node) []Match {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		p.problem(n.Line, "match: a list stands here, of paths and of {click: PATH, checkout: PATH, type: TYPE}")
		return nil
	}
	var list []Match
	for _, item := range n.Content {
		item = resolve(item)
		m := Match{Type: Text}
		if item.Kind == yaml.MappingNode {
			var click, checkout bool
			for _, w := range p.mapping(item, "match", "click", "checkout", "type") {
				switch w.key {
				case "click":
					m.Click, click = p.path(w.value, "match.click"), true
				case "checkout":
					m.Checkout, checkout = p.path(w.value, "match.checkout"), true
				case "type":
					m.Type = word(p, w.value, "match.type", Text, Integer, Bigint, UUID)
				}
			}
			if !click || !checkout {
				p.problem(item.Line, "match: click and checkout stand here; if both are the same path, the path alone "+
					"is enough")
			}
		} else {
			m.Click = p.path(item, "match")
			m.Checkout = m.Click
		}
		list = append(list, m)
		p.lines.Match = append(p.lines.Match, item.Line)
	}
	if len(list) < 1 || len(list) > MaxMatch {
		p.problem(n.Line, "match: 1 to %d pairs stand here, not %d", MaxMatch, len(list))
	}
	return list
}
