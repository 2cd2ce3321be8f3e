package shape

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Text writes the shape out in full, as a file that Parse takes. Nothing in it is left to a
// default.
func (s *Shape) Text() string {
	var w writer
	w.line(0, "shape:")
	w.events("clicks", &s.Clicks)
	w.events("checkouts", &s.Checkouts)
	w.line(1, "match:")
	for _, m := range s.Match {
		w.line(2, "- {click: "+scalar(m.Click.String())+", checkout: "+scalar(m.Checkout.String())+", type: "+
			""+string(m.Type)+"}")
	}
	if len(s.Lookups) > 0 {
		w.line(1, "lookups:")
	}
	for _, l := range s.Lookups {
		mirror := "on"
		if l.ReadThrough {
			mirror = "off"
		}
		w.line(2, scalar(l.Name)+": {table: "+scalar(l.Table.String())+", key: "+scalar(QuoteName(l.Key))+", from: "+
			""+scalar(l.From.String())+
			", mirror: \""+mirror+"\"}")
	}
	w.line(1, "rows:")
	w.line(2, "table: "+scalar(s.Rows.Table.String()))
	w.line(2, "columns:")
	for i := range s.Rows.Columns {
		c := &s.Rows.Columns[i]
		unit := ""
		if c.Unit != NoUnit {
			unit = ", unit: " + string(c.Unit)
		}
		w.line(3, scalar(QuoteName(c.Name))+": {from: "+scalar(c.Source())+", type: "+
			""+scalar(s.DeclaredType(c))+unit+"}")
	}
	return w.String()
}

// Source is where a column's value comes from, as it is declared.
func (c *Column) Source() string {
	if c.Side == FromLookup {
		return c.Lookup + "." + QuoteName(c.LookupColumn)
	}
	return string(c.Side) + "." + c.Path.String()
}

type writer struct{ strings.Builder }

func (w *writer) line(indent int, text string) {
	w.WriteString(strings.Repeat("  ", indent) + text + "\n")
}

func (w *writer) events(kind string, e *Events) {
	w.line(1, kind+":")
	w.line(2, "topic: "+scalar(e.Topic))
	w.line(2, "format: "+string(e.Format))
	if len(e.Where) > 0 {
		w.line(2, "where:")
	}
	for _, c := range e.Where {
		var in []string
		for _, l := range c.In {
			text := l.Text
			if l.Kind == String {
				text = quoted(text)
			}
			in = append(in, text)
		}
		w.line(3, scalar(c.Path.String())+": ["+strings.Join(in, ", ")+"]")
	}
	w.line(2, "id: {from: "+scalar(e.ID.From.String())+", type: "+string(e.ID.Type)+"}")
	unit := ""
	if e.Time.Unit != NoUnit {
		unit = ", unit: " + string(e.Time.Unit)
	}
	w.line(2, "time: {from: "+scalar(e.Time.From.String())+unit+"}")
	if e.SkipEmpty {
		w.line(2, "empty: skip")
	}
}

// scalar writes a text of YAML that may stand within braces: quoted, unless it is plainly a word.
func scalar(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$") == ""
	var n yaml.Node
	if plain && yaml.Unmarshal([]byte(text), &n) == nil && len(n.Content) == 1 && n.Content[0].Tag == "!!str" {
		return text
	}
	return quoted(text)
}

// quoted writes a text of YAML in double quotes, on one line.
func quoted(text string) string {
	n := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text}
	out, err := yaml.Marshal(&n)
	if err != nil { // no text fails to be written
		panic("write a text as YAML: " + err.Error())
	}
	return strings.TrimSuffix(string(out), "\n")
}
