package shape

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is one part in which a shape differs from the one that rows were written with.
type Difference struct {
	Part     string // as Lines.Of takes it
	Was, Now string
}

// String says the difference in a sentence's middle: rows.table was a.b and is now c.d.
func (d Difference) String() string {
	return fmt.Sprintf("%s was %s and is now %s", d.Part, d.Was, d.Now)
}

// Compare holds a shape against the one that a group's rows were written with. appended are columns
// that follow all others: that is the one change after which old rows mean what they did. With any
// other difference the rows of both would not mean the same.
func Compare(was, now *Shape) (differences []Difference, appended []Column) {
	differ := func(part, a, b string) {
		if a != b {
			differences = append(differences, Difference{part, a, b})
		}
	}
	events := func(kind string, a, b *Events) {
		differ(kind+".topic", a.Topic, b.Topic)
		differ(kind+".format", string(a.Format), string(b.Format))
		differ(kind+".where", conditions(a.Where), conditions(b.Where))
		differ(kind+".id", a.ID.From.String()+" ("+string(a.ID.Type)+")", b.ID.From.String()+" ("+string(b.ID.Type)+")")
		differ(kind+".time", a.Time.text(), b.Time.text())
		differ(kind+".empty", skip(a), skip(b))
	}
	events("clicks", &was.Clicks, &now.Clicks)
	events("checkouts", &was.Checkouts, &now.Checkouts)
	differ("match", matches(was.Match), matches(now.Match))
	differ("lookups", lookups(was.Lookups), lookups(now.Lookups))
	differ("rows.table", was.Rows.Table.String(), now.Rows.Table.String())

	a, b := was.Rows.Columns, now.Rows.Columns
	text := func(list []Column) string {
		var all []string
		for i := range list {
			all = append(all, QuoteName(list[i].Name)+": "+list[i].Source()+" "+string(list[i].Unit))
		}
		return strings.Join(all, ", ")
	}
	if len(b) > len(a) && text(a) == text(b[:len(a)]) {
		return differences, slices.Clone(b[len(a):])
	}
	differ("rows.columns", text(a), text(b))
	return differences, nil
}

func skip(e *Events) string {
	if e.SkipEmpty {
		return "skip"
	}
	return "a dead letter"
}

func (t *Time) text() string {
	if t.Unit == NoUnit {
		return t.From.String()
	}
	return t.From.String() + " in " + string(t.Unit)
}

// conditions writes what holds for events, in an order that does not depend on the declaration's.
func conditions(list []Condition) string {
	var all []string
	for _, c := range list {
		var in []string
		for _, l := range c.In {
			in = append(in, string(l.Kind)+" "+quoted(l.Text))
		}
		slices.Sort(in)
		all = append(all, c.Path.String()+" is "+strings.Join(in, " or "))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

func matches(list []Match) string {
	var all []string
	for _, m := range list {
		all = append(all, m.Click.String()+" = "+m.Checkout.String()+" ("+string(m.Type)+")")
	}
	return strings.Join(all, ", ")
}

// lookups writes what rows depend on: not whether a table is mirrored.
func lookups(list []Lookup) string {
	var all []string
	for _, l := range list {
		all = append(all, l.Name+" is "+l.Table.String()+" by "+QuoteName(l.Key)+" = "+l.From.String())
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}
