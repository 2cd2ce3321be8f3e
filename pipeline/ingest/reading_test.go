package ingest

import (
	"testing"
	"time"
)

func TestNoticesAreLoggedOnce(t *testing.T) {
	var d notices
	now := time.Now()
	place := Place{"clicks", 1}
	for i, c := range []struct {
		place Place
		text  string
		after time.Duration
		want  bool
	}{
		{place, "refused", 0, true},
		{place, "refused", time.Second, false},
		{Place{"clicks", 2}, "refused", time.Second, true},
		{place, "time-out", 2 * time.Second, true},
		{place, "time-out", 3 * time.Second, false},
		{place, "time-out", 2 * time.Minute, true},
	} {
		if got := d.due(c.place, c.text, now.Add(c.after)); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}
