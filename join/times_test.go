package join

import (
	"testing"

	"firstclick/join/event"
)

// One wrong clock, or a few, among the newest events do not say how far a partition is. A jump that
// most of them make does.
func TestWhatTheNewestEventsHaveReached(t *testing.T) {
	const apart = 100
	many := func(from, n int64) (out []int64) {
		for i := range n {
			out = append(out, from+i)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		times []int64
		want  int64
	}{
		{"none", nil, event.NoTime},
		{"one", []int64{5}, 5},
		{"a few: the latest", []int64{5, 9000, 7}, 9000},
		{"in order", many(0, 40), 39},
		{"one ahead", append(many(0, 20), 9000), 19},
		{"one ahead, and others after it", append(append(many(0, 20), 9000), many(20, 40)...), 59},
		{"a dozen ahead, in a row", append(many(0, 20), many(9000, 12)...), 19},
		{"a jump that goes on", append(many(0, 20), many(9000, 20)...), 9019},
		{"one late", append(many(1000, 20), 3), 1019},
		{"ahead by less than what counts", append(many(0, 20), 109), 109},
	} {
		var r, read times
		for i, at := range c.times {
			if read.add(at); i%7 == 0 {
				r.addAll(&read)
				read = times{}
			}
		}
		r.addAll(&read)
		if got := r.reached(apart); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
