package rules

import "time"

// Clock gives microseconds that never go back: the time that join takes as an argument.
type Clock struct{ start time.Time }

// NewClock makes a clock that starts at 0.
func NewClock() Clock { return Clock{time.Now()} }

// Now is the number of microseconds since the clock was made.
func (c Clock) Now() int64 { return time.Since(c.start).Microseconds() }
