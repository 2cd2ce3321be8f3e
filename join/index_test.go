package join

import (
	"testing"
	"time"

	"firstclick/join/event"
	"firstclick/join/window"
)

// A click a minute of event time, newest first: whatever looks through the minutes for each click
// would need 10^11 steps.
func TestAReadOfVeryManyMinutes(t *testing.T) {
	const clicks = 1_000_000
	began := time.Now()
	c := NewCore(Config{}, window.New(0))
	c.AddClicks(0, 0, event.NoTime, 0)
	var r ClicksRead
	r.Reset(0)
	for o := range int64(clicks) {
		r.Add((clicks-o/2)*indexBucket, o) // two of each
	}
	r.Next = clicks
	c.Clicks(&r, 0)
	index := c.parts[0].index
	if len(index) != clicks/2 || index[0] != (TimeOffset{clicks/2 + 1, clicks - 2}) ||
		index[1] != (TimeOffset{clicks/2 + 2, clicks - 4}) {
		t.Errorf("%d buckets, the first ones %v", len(index), index[:min(2, len(index))])
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
