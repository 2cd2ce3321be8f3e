package shape

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (p *parser) lookups(n *yaml.Node) []Lookup {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	var list []Lookup
	for _, e := range p.mapping(n, "lookups") {
		l := p.lookup(e)
		switch {
		case e.key == string(FromCheckout) || e.key == string(FromClick):
			p.problem(e.line, "lookups: a lookup may not be called %s: in rows.columns that is the event", e.key)
		case !plainMember(e.key):
			p.problem(e.line, "lookups: the name %q holds a dot, a space, a bracket or a quote", e.key)
		}
		list = append(list, l)
		p.lines.Lookups = append(p.lines.Lookups, e.line)
	}
	return list
}

func (p *parser) lookup(e entry) Lookup {
	l := Lookup{Name: e.key}
	what := "lookups." + e.key
	entries := p.mapping(e.value, what, "table", "key", "from", "mirror")
	for _, w := range entries {
		switch w.key {
		case "table":
			l.Table = p.table(w.value, what+".table")
		case "key":
			if text, ok := p.text(w.value, what+".key"); ok {
				l.Key = p.column(w.value.Line, text, what+".key")
			}
		case "from":
			text, ok := p.text(w.value, what+".from")
			if !ok {
				break
			}
			if rest, is := strings.CutPrefix(text, "checkout."); is {
				p.problem(w.value.Line, "%s.from: a path of the checkout stands here without checkout. before it: %s. "+
					"(A member that is called checkout stands in quotes.)", what, rest)
			}
			l.From = p.pathOf(w.value.Line, text, what+".from")
		case "mirror":
			// YAML 1.2 has off as a text, YAML 1.1 as false: both are taken.
			if v := strings.ToLower(w.value.Value); v == "off" || v == "false" {
				l.ReadThrough = true
			} else if v != "on" && v != "true" {
				p.problem(w.value.Line, "%s.mirror: on or off stands here", what)
			}
		}
	}
	p.require(e.value, e.line, what, "", entries, "table", "key", "from")
	return l
}

func (p *parser) table(n *yaml.Node, what string) Table {
	text, ok := p.text(n, what)
	if !ok {
		return Table{}
	}
	t, err := ParseTable(text)
	if err != nil {
		p.problem(n.Line, "%s: %q is no table: %v", what, text, err)
	}
	return t
}

func (p *parser) column(line int, text, what string) string {
	name, err := ParseColumn(text)
	if err != nil {
		p.problem(line, "%s: %q is no column: %v", what, text, err)
	}
	return name
}

// rows reads rows. The events and lookups of s are known.
func (p *parser) rows(n *yaml.Node, s *Shape) Rows {
	var r Rows
	entries := p.mapping(n, "rows", "table", "columns")
	for _, e := range entries {
		p.lines.parts["rows."+e.key] = e.line
		switch e.key {
		case "table":
			r.Table = p.table(e.value, "rows.table")
		case "columns":
			for _, c := range p.mapping(e.value, "rows.columns") {
				r.Columns = append(r.Columns, p.rowColumn(c, s))
				p.lines.Columns = append(p.lines.Columns, c.line)
			}
		}
	}
	p.require(n, n.Line, "rows", "", entries, "table", "columns")
	return r
}

func (p *parser) rowColumn(e entry, s *Shape) Column {
	c := Column{Name: p.column(e.line, e.key, "rows.columns")}
	what := "rows.columns." + e.key
	if e.value.Kind != yaml.MappingNode {
		if text, ok := p.text(e.value, what); ok {
			p.source(&c, e.value.Line, text, what, s)
		}
		return c
	}
	unit := false
	entries := p.mapping(e.value, what, "from", "type", "unit")
	for _, w := range entries {
		switch w.key {
		case "from":
			if text, ok := p.text(w.value, what+".from"); ok {
				p.source(&c, w.value.Line, text, what+".from", s)
			}
		case "type":
			text, ok := p.text(w.value, what+".type")
			if !ok {
				break
			}
			t, err := ColumnType(text)
			if err != nil {
				p.problem(w.value.Line, "%s.type: %v", what, err)
			}
			c.Type = t
		case "unit":
			unit = true
			c.Unit = p.unit(w.value, what+".unit")
		}
	}
	p.require(e.value, e.line, what, "", entries, "from")
	if unit && (c.Side == FromLookup || c.Path.Meta == Timestamp) {
		p.problem(e.line, "%s: unit is for numbers of an event", what)
	}
	return c
}

// source reads where a column's value comes from: checkout.PATH, click.PATH or LOOKUP.COLUMN.
func (p *parser) source(c *Column, line int, text, what string, s *Shape) {
	head, rest, dotted := strings.Cut(text, ".")
	if !dotted {
		p.problem(line, "%s: %q is no source: write checkout.PATH, click.PATH or LOOKUP.COLUMN", what, text)
		return
	}
	var time Time
	switch Side(head) {
	case FromCheckout:
		c.Side, time = FromCheckout, s.Checkouts.Time
	case FromClick:
		c.Side, time = FromClick, s.Clicks.Time
	default:
		if s.LookupNamed(head) == nil {
			names := []string{"checkout", "click"}
			for i := range s.Lookups {
				names = append(names, s.Lookups[i].Name)
			}
			p.problem(line, "%s: nothing is called %q; before the dot stands one of %s", what, head,
				strings.Join(names, ", "))
			return
		}
		c.Side, c.Lookup = FromLookup, head
		c.LookupColumn = p.column(line, rest, what)
		return
	}
	path, err := ParsePath(rest)
	if err != nil {
		p.problem(line, "%s: %q is no path: %v", what, rest, err)
		return
	}
	c.Path = path
	if c.Unit == NoUnit && path.Equal(time.From) {
		c.Unit = time.Unit
	}
}

// columnTypes are the types of columns that migrate can make, and whether they take (n) or (n,m).
var columnTypes = map[string]int{
	"text": 0, "varchar": 1, "char": 1, "citext": 0, "uuid": 0, "smallint": 0, "integer": 0, "bigint": 0,
	"numeric": 2, "real": 0, "double precision": 0, "boolean": 0, "date": 0, "timestamp": 1, "timestamptz": 1,
	"json": 0, "jsonb": 0, "inet": 0,
}

// columnAliases are other names of these types.
var columnAliases = map[string]string{
	"int": "integer", "int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean",
	"decimal": "numeric", "float4": "real", "float8": "double precision", "character varying": "varchar",
	"character": "char", "timestamp without time zone": "timestamp",
	"timestamp with time zone": "timestamptz",
}

// ColumnType reads a type of Postgres and returns its one spelling, such as numeric(12,2).
func ColumnType(text string) (string, error) {
	base, rest, bracket := strings.Cut(strings.ToLower(strings.Join(strings.Fields(text), " ")), "(")
	name := strings.TrimSpace(base)
	if other, ok := columnAliases[name]; ok {
		name = other
	}
	most, ok := columnTypes[name]
	if !ok {
		names := make([]string, 0, len(columnTypes))
		for n := range columnTypes {
			names = append(names, n)
		}
		slices.Sort(names)
		return "", fmt.Errorf("%q is none of the types that are known: %s", text, strings.Join(names, ", "))
	}
	if !bracket {
		return name, nil
	}
	inside, end, closed := strings.Cut(rest, ")")
	args := strings.Split(inside, ",")
	if !closed || strings.TrimSpace(end) != "" || len(args) > most {
		return "", fmt.Errorf("%q: what stands in brackets does not fit %s", text, name)
	}
	for i, a := range args {
		a = strings.TrimSpace(a)
		if a == "" || strings.Trim(a, "0123456789") != "" || len(a) > 8 {
			return "", fmt.Errorf("%q: %q is no number", text, a)
		}
		args[i] = a
	}
	return name + "(" + strings.Join(args, ",") + ")", nil
}
