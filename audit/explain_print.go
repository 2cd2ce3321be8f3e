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
	section := func(heading string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n  %s\n", heading, strings.Join(lines, "\n  "))
		}
	}
	fmt.Fprintf(&b, "checkout %s, group %s\n%s\n", escape(e.CheckoutID), escape(e.Group), e.Summary)
	if e.Row == nil {
		b.WriteString("\nno row\n")
	} else {
		section("row", e.Row.lines())
	}
	if lines := e.Timeline(78); lines != nil {
		b.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	}
	section("clicks (W winner, 2 runner-up, * in the window, = duplicate, o outside, x dead letter)", e.clickLines())
	heading := "why"
	if e.Verdict == VerdictUnknown {
		heading = "where it may be"
	}
	section(heading, e.Why)
	if e.User != nil {
		section("user_name", []string{e.User.Story})
	}
	if e.When != nil {
		section("when", e.When.Story)
	}
	section("records with this checkout_id", e.recordLines())
	var letters, late sentences
	for _, d := range e.DeadLetters {
		letters.say("%d  %s  %s, %s, written %s\n     %s",
			d.ID, d.Reason, d.place(), d.Status, shortTime(d.CreatedAt), quote(d.Detail))
	}
	for _, l := range e.Late {
		repaired := "not repaired"
		if l.RepairedAt != nil {
			repaired = "repaired " + shortTime(*l.RepairedAt)
		}
		late.say("%s %s at %s, %s, noted %s, %s",
			l.Kind, escape(l.EventID), shortTime(l.Time), l.place(), shortTime(l.RecordedAt), repaired)
	}
	section("dead letters", letters)
	section("firstclick.late", late)
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

func (r *RowNow) lines() (s sentences) {
	text := func(name string, v *string) { s.say("%-17s %s", name, optionalOf(v)) }
	when := func(name string, v *time.Time) {
		shown := "NULL"
		if v != nil {
			shown = shortTime(*v)
		}
		s.say("%-17s %s", name, shown)
	}
	when("checkout_time", r.CheckoutTime)
	text("click_id", r.ClickID)
	when("click_time", r.ClickTime)
	text("user_name", r.UserName)
	for i, v := range r.own() {
		text(ownColumns[i].name, *v)
	}
	return s
}

// marks are how roles are drawn in the time line, and before the clicks' list.
var marks = map[string]byte{
	RoleWinner: 'W', RoleRunnerUp: '2', RoleCandidate: '*', RoleDuplicate: '=',
	RoleBefore: 'o', RoleAfter: 'o', RoleRejected: 'x',
}

func (e *Explanation) clickLines() (s sentences) {
	for _, c := range e.Clicks {
		before := strings.Replace("T-"+c.Before.String(), "--", "+", 1) // T+5m0s is after the checkout
		if c.Before == 0 {
			before = "T"
		}
		s.say("%c %-26s  %14s  %s  %s%s", marks[c.Role], shortTime(c.Time), before, c.place(), escape(c.ClickID),
			remark(c.Row, "the row's")+remark(c.Pending, "not read yet")+remark(c.Late, "in firstclick.late")+
				remark(c.DeadLetter != "", "dead letter, "+c.DeadLetter))
	}
	if e.More > 0 {
		s.say("and %s more in the window", plural(e.More, "click"))
	}
	return s
}

// remark is text in brackets, if it holds.
func remark(holds bool, text string) string {
	if !holds {
		return ""
	}
	return "  [" + text + "]"
}

func (p Place) place() string {
	text := fmt.Sprintf("%s-%d offset %d", escape(p.Topic), p.Partition, p.Offset)
	if p.RecordTime != nil {
		text += ", recorded " + shortTime(*p.RecordTime)
	}
	return text
}

func (e *Explanation) recordLines() (s sentences) {
	for i, r := range e.Records {
		if i == 50 {
			s.say("and %d more", len(e.Records)-i)
			break
		}
		text := ""
		if r.Role != RoleRejected {
			text = fmt.Sprintf(", user %d, %s", r.UserID, shortTime(r.Time))
		}
		if r.Differs != "" {
			text += ": " + r.Differs
		}
		s.say("%-9s %s%s%s%s", r.Role, r.place(), text,
			remark(r.DeadLetter != "", "dead letter, "+r.DeadLetter), remark(r.Pending, "not read yet"))
	}
	return s
}

const (
	margin   = 9  // columns on each side of the window
	narrow   = 48 // least width
	ticksGap = 20 // columns that the time at an end of the window takes
)

// Timeline draws the window and the clicks in ASCII, in lines of at most width columns (at least
// 48). nil: there is nothing to draw. Inside the window positions are to scale; outside, only the
// order is.
func (e *Explanation) Timeline(width int) []string {
	if e.Join == nil {
		return nil
	}
	width = max(width, narrow)
	left, right := margin, width-margin-4
	events, axis := []byte(strings.Repeat(" ", width)), []byte(strings.Repeat("-", width-2)+"> ")
	axis[left], axis[right] = '+', 'K'
	before, after := 0, 0
	for _, c := range e.Clicks {
		before += map[bool]int{true: 1}[c.Time.Before(e.Join.From)]
	}
	span := float64(e.Join.Window)
	rank := func(mark byte) int { return strings.IndexByte(" ox=*2W", mark) }
	for _, c := range e.Clicks {
		column := left + int(float64(e.Join.Window-c.Before)/span*float64(right-left))
		switch {
		case c.Time.Before(e.Join.From):
			column = max(0, left-2*before)
			before--
		case c.Time.After(e.Join.To):
			after++
			column = min(width-3, right+2*after)
		case c.Before > 0:
			column = min(column, right-1) // the column of the checkout is for clicks at its instant
		}
		if mark := marks[c.Role]; rank(mark) > rank(events[column]) {
			events[column] = mark
		}
	}
	label := " " + e.Join.Window.String() + " "
	dashes := right - left - 1 - len(label) - 2
	window := strings.Repeat(" ", left) + "|<" + strings.Repeat("-", max(0, dashes/2)) + label +
		strings.Repeat("-", max(0, dashes-dashes/2)) + ">|"
	from, to := e.Join.From.Format("15:04:05"), e.Join.To.Format("15:04:05")
	if d := e.Join.To.Format(" 2006-01-02"); right-left > 2*ticksGap {
		from, to = from+e.Join.From.Format(" 2006-01-02"), to+d
	}
	start := max(0, left-4)
	ticks := strings.Repeat(" ", start) + from + strings.Repeat(" ", max(1, right+5-len(to)-start-len(from)+4)) + to
	trim := func(line string) string { return strings.TrimRight(line, " ") }
	return []string{trim(string(events)), trim(string(axis)), window, trim(ticks)}
}
