package audit

import "cmp"

// click is a click as a row holds it. The zero value is no click.
type click struct {
	id   string
	time int64
	set  byte // hasID, hasTime
}

const (
	hasID   = 1
	hasTime = 2
	hasBoth = hasID | hasTime
)

func (c click) ok() bool { return c.set&hasID != 0 }

// halfSet says that click_id and click_time are not both set or both NULL.
func (c click) halfSet() bool { return c.set == hasID || c.set == hasTime }

func (c click) String() string {
	id := optional{c.id, c.set&hasID != 0}
	switch {
	case c.set == 0:
		return "no click"
	case c.set&hasTime != 0:
		return "click " + id.String() + " at " + formatTime(c.time)
	default:
		return "click " + id.String() + " without a time"
	}
}

// compare orders by time and id. No click is the greatest: any click is better.
func (c click) compare(o click) int {
	switch {
	case c.ok() && o.ok():
		return cmp.Or(cmp.Compare(c.time, o.time), cmp.Compare(c.id, o.id))
	case c.ok():
		return -1
	case o.ok():
		return 1
	default:
		return 0
	}
}
