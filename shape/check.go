package shape

import (
	"slices"
	"strings"
)

// check finds what is wrong with parts that are each well formed.
func (p *parser) check(s *Shape) {
	p.checkTopics(s)
	p.checkColumns(s)
	for i, l := range s.Lookups {
		used := slices.ContainsFunc(s.Rows.Columns, func(c Column) bool { return c.Lookup == l.Name })
		if !used {
			p.problem(p.lines.Lookups[i], "lookups.%s: no column uses it: leave it out, or add a column with the "+
				"source %s.COLUMN", l.Name, l.Name)
		}
	}
}

// checkTopics holds two kinds of events apart that come from one topic.
func (p *parser) checkTopics(s *Shape) {
	if !s.OneTopic() {
		return
	}
	line := p.lines.Of("checkouts.topic")
	switch {
	case len(s.Clicks.Where) == 0 || len(s.Checkouts.Where) == 0:
		p.problem(line, "checkouts.topic: both kinds come from %s, so both need a where that tells them apart, as in "+
			"{event: \"Order Completed\"}", s.Clicks.Topic)
	case s.Clicks.Format != s.Checkouts.Format:
		p.problem(line, "checkouts.format: both kinds come from %s, so both have one format", s.Clicks.Topic)
	case !samePaths(s.Clicks.Where, s.Checkouts.Where):
		p.problem(p.lines.Of("checkouts.where"), "checkouts.where: both kinds come from %s, so both where name the "+
			"same paths", s.Clicks.Topic)
	case !disjoint(s.Clicks.Where, s.Checkouts.Where):
		p.problem(p.lines.Of("checkouts.where"), "checkouts.where: both kinds come from %s, and a record may be both; "+
			"one path needs values that have none in common", s.Clicks.Topic)
	}
}

func samePaths(a, b []Condition) bool {
	names := func(list []Condition) (names []string) {
		for _, c := range list {
			names = append(names, c.Path.String())
		}
		slices.Sort(names)
		return names
	}
	return slices.Equal(names(a), names(b))
}

// disjoint says whether no record can fulfil both.
func disjoint(a, b []Condition) bool {
	return slices.ContainsFunc(a, func(c Condition) bool {
		return slices.ContainsFunc(b, func(d Condition) bool {
			common := slices.ContainsFunc(c.In, func(l Literal) bool { return slices.Contains(d.In, l) })
			return c.Path.Equal(d.Path) && !common
		})
	})
}

func (p *parser) checkColumns(s *Shape) {
	columns, line := s.Rows.Columns, p.lines.Of("rows.columns")
	for i := range columns {
		c := &columns[i]
		if slices.ContainsFunc(columns[:i], func(o Column) bool { return o.Name == c.Name }) {
			p.problem(p.lines.Columns[i], "rows.columns: the table has one column %s, and it stands here a second "+
				"time", QuoteName(c.Name))
		}
		p.checkColumn(s, c, p.lines.Columns[i])
	}
	has := func(is func(*Column) bool) bool {
		return slices.ContainsFunc(columns, func(c Column) bool { return is(&c) })
	}
	need := func(is func(*Column) bool, source, why string) {
		if !has(is) {
			p.problem(line, "rows.columns: a column with the source %s is missing; %s", source, why)
		}
	}
	need(s.IsCheckoutID, "checkout."+s.Checkouts.ID.From.String(), "the checkout's id tells rows apart")
	need(s.IsCheckoutTime, "checkout."+s.Checkouts.Time.From.String(), "the checkout's time says when a row is final")
	if s.HasClicks() {
		const why = "where a row has columns of the click, the click's id and time decide which click is the first"
		need(s.IsClickID, "click."+s.Clicks.ID.From.String(), why)
		need(s.IsClickTime, "click."+s.Clicks.Time.From.String(), why)
	}
}

// clickTypes are the types, without what stands in brackets, that a value of the click may go to.
var clickTypes = []string{"text", "varchar", "smallint", "integer", "bigint", "numeric", "boolean", "uuid", "date",
	"timestamp", "timestamptz"}

// checkColumn holds a column's declared type against its source.
func (p *parser) checkColumn(s *Shape, c *Column, line int) {
	if c.Type == "" {
		return
	}
	what, base := "rows.columns."+c.Name, baseType(c.Type)
	idFits := func(id ID) {
		fits := map[Type][]string{Text: {"text", "varchar", "char"}, Bigint: {"bigint"}, UUID: {"uuid"}}[id.Type]
		if !slices.Contains(fits, base) {
			p.problem(line, "%s: an id of type %s goes into a column of type %s, not %s", what, id.Type,
				strings.Join(fits, " or "), c.Type)
		}
	}
	switch {
	case s.IsCheckoutID(c):
		idFits(s.Checkouts.ID)
	case s.IsClickID(c):
		idFits(s.Clicks.ID)
	case s.IsCheckoutTime(c), s.IsClickTime(c):
		if base != "timestamp" && base != "timestamptz" || c.Type != base && c.Type != base+"(6)" {
			p.problem(line, "%s: the time of an event goes into a column of type timestamp or timestamptz with six "+
				"digits, not %s", what, c.Type)
		}
	case c.Side == FromClick && !slices.Contains(clickTypes, base):
		p.problem(line, "%s: a value of the click goes into one of %s, not %s", what, strings.Join(clickTypes, ", "),
			c.Type)
	}
	if c.Unit != NoUnit && base != "timestamp" && base != "timestamptz" && base != "date" {
		p.problem(line, "%s: unit says that the number is a time, and %s is no type of a time", what, c.Type)
	}
}

// baseType is a type without what stands in brackets.
func baseType(t string) string {
	base, _, _ := strings.Cut(t, "(")
	return base
}

// DeclaredType is the type that migrate gives a column where it makes the table: as declared, else
// by what the column holds.
func (s *Shape) DeclaredType(c *Column) string {
	switch {
	case c.Type != "":
		return c.Type
	case s.IsCheckoutID(c):
		return string(s.Checkouts.ID.Type)
	case s.IsClickID(c):
		return string(s.Clicks.ID.Type)
	case s.IsCheckoutTime(c), s.IsClickTime(c), c.Unit != NoUnit:
		return "timestamptz"
	}
	return "text"
}
