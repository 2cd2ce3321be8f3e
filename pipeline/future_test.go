package pipeline

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The detail of a dead letter from the future says how far it lies, also where no time.Duration does.
func TestHowFarInTheFuture(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	record := &kgo.Record{Timestamp: at}
	for _, c := range []struct {
		event time.Time
		want  string
	}{
		{at.Add(5 * time.Minute), ""},
		{at.Add(5*time.Minute + time.Microsecond), "5m0.000001s ahead of its record's time"},
		{at.Add(47 * time.Hour), "47h0m0s ahead of its record's time"},
		{at.AddDate(0, 0, 3), "3 days ahead of its record's time"},
		{time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), "355051 days ahead of its record's time"},
	} {
		got := ""
		if err := checkFuture(c.event.UnixMicro(), record, 5*time.Minute); err != nil {
			got = deadLetter(record, [16]byte{}, err).Detail
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.event, got, c.want)
		}
	}
}
