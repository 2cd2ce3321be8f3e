package audit

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteTo prints the explanation for people. It escapes texts of others, which a terminal could
// take for commands.
func (e *Explanation) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "checkout %s, group %s\n%s\n", escape(e.CheckoutID), escape(e.Group), e.Summary)
	e.writeRow(&b)
	if lines := e.Timeline(78); lines != nil {
		b.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	}
	e.writeClicks(&b)
	heading := "\nwhy\n"
	if e.Verdict == VerdictUnknown {
		heading = "\nwhere it may be\n"
	}
	writeList(&b, heading, e.Why)
	if e.User != nil {
		writeList(&b, "\nuser_name\n", []string{e.User.Story})
	}
	if e.When != nil {
		writeList(&b, "\nwhen\n", e.When.Story)
	}
	e.writeRecords(&b)
	e.writeNoted(&b)
	b.WriteByte('\n')
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	var read int64
	for _, s := range e.Searched {
		read += s.To - s.From
	}
	fmt.Fprintf(&b, "%s read in Kafka, %s\n", plural(read, "offset"), e.Elapsed.Round(time.Millisecond))
	return b.WriteTo(w)
}

func writeList(b *bytes.Buffer, heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	b.WriteString(heading)
	for _, l := range lines {
		fmt.Fprintf(b, "  %s\n", l)
	}
}

func (e *Explanation) writeRow(b *bytes.Buffer) {
	r := e.Row
	if r == nil {
		b.WriteString("\nno row\n")
		return
	}
	b.WriteString("\nrow\n")
	text := func(name string, v *string) { fmt.Fprintf(b, "  %-17s %s\n", name, optionalOf(v)) }
	when := func(name string, v *time.Time) {
		shown := "NULL"
		if v != nil {
			shown = shortTime(*v)
		}
		fmt.Fprintf(b, "  %-17s %s\n", name, shown)
	}
	when("checkout_time", r.CheckoutTime)
	text("click_id", r.ClickID)
	when("click_time", r.ClickTime)
	text("user_name", r.UserName)
	for i, v := range r.own() {
		text(ownColumns[i].name, *v)
	}
}

// marks are how roles are drawn in the time line, and before the clicks' list.
var marks = map[string]byte{
	RoleWinner: 'W', RoleRunnerUp: '2', RoleCandidate: '*', RoleDuplicate: '=',
	RoleBefore: 'o', RoleAfter: 'o', RoleRejected: 'x',
}

func (e *Explanation) writeClicks(b *bytes.Buffer) {
	if len(e.Clicks) == 0 {
		return
	}
	b.WriteString("\nclicks (W winner, 2 runner-up, * in the window, = duplicate, o outside, x dead letter)\n")
	for _, c := range e.Clicks {
		remarks := ""
		for _, r := range []struct {
			is   bool
			text string
		}{
			{c.Row, "the row's"}, {c.Pending, "not read yet"}, {c.Late, "in firstclick.late"},
			{c.DeadLetter != "", "dead letter, " + c.DeadLetter},
		} {
			if r.is {
				remarks += "  [" + r.text + "]"
			}
		}
		fmt.Fprintf(b, "  %c %-26s  %14s  %s  %s%s\n",
			marks[c.Role], shortTime(c.Time), signed(c.Before), c.place(), escape(c.ClickID), remarks)
	}
	if e.More > 0 {
		fmt.Fprintf(b, "  and %s more in the window\n", plural(e.More, "click"))
	}
}

// signed is a time before the checkout as people say it: T-50m0s.
func signed(before time.Duration) string {
	switch {
	case before > 0:
		return "T-" + before.String()
	case before < 0:
		return "T+" + (-before).String()
	}
	return "T"
}

func (p Place) place() string {
	text := fmt.Sprintf("%s-%d offset %d", escape(p.Topic), p.Partition, p.Offset)
	if p.RecordTime != nil {
		text += ", recorded " + shortTime(*p.RecordTime)
	}
	return text
}

func (e *Explanation) writeRecords(b *bytes.Buffer) {
	if len(e.Records) == 0 {
		return
	}
	b.WriteString("\nrecords with this checkout_id\n")
	for i, r := range e.Records {
		if i == 50 {
			fmt.Fprintf(b, "  and %d more\n", len(e.Records)-i)
			break
		}
		fmt.Fprintf(b, "  %-9s %s", r.Role, r.place())
		if r.Role != RoleRejected {
			fmt.Fprintf(b, ", user %d, %s", r.UserID, shortTime(r.Time))
		}
		if r.Differs != "" {
			b.WriteString(": " + r.Differs)
		}
		if r.DeadLetter != "" {
			b.WriteString("  [dead letter, " + r.DeadLetter + "]")
		}
		if r.Pending {
			b.WriteString("  [not read yet]")
		}
		b.WriteByte('\n')
	}
}

func (e *Explanation) writeNoted(b *bytes.Buffer) {
	if len(e.DeadLetters) > 0 {
		b.WriteString("\ndead letters\n")
	}
	for _, d := range e.DeadLetters {
		fmt.Fprintf(b, "  %d  %s  %s, %s, written %s\n     %s\n",
			d.ID, d.Reason, d.place(), d.Status, shortTime(d.CreatedAt), quote(d.Detail))
	}
	if len(e.Late) > 0 {
		b.WriteString("\nfirstclick.late\n")
	}
	for _, l := range e.Late {
		repaired := "not repaired"
		if l.RepairedAt != nil {
			repaired = "repaired " + shortTime(*l.RepairedAt)
		}
		fmt.Fprintf(b, "  %s %s at %s, %s, noted %s, %s\n",
			l.Kind, escape(l.EventID), shortTime(l.Time), l.place(), shortTime(l.RecordedAt), repaired)
	}
}
