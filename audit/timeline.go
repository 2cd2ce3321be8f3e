package audit

import "strings"

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
