package ingest

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/join/event"
)

// The detail of a dead letter says how far ahead the event is, also where no time.Duration holds
// that.
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
			got = deadLetter(record, [16]byte{}, err, nil).Detail
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.event, got, c.want)
		}
	}
}

// The detail says which of the two times is wrong where a producer stamps seconds or nonsense.
func TestTheFutureOfANonsensicalTimestamp(t *testing.T) {
	dated := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for stamp, want := range map[int64]string{
		dated.Unix(): "20762 days ahead of its record's time, which cannot be right: 1795694400 milliseconds since " +
			"1970, which is 1970-01-21T18:48:14Z" +
			" (as seconds it would be 2026-11-26T12:00:00Z: the producer stamps seconds where Kafka takes " +
			"milliseconds)",
		0: "20783 days ahead of its record's time, which cannot be right: 0 milliseconds since 1970, which is " +
			"1970-01-01T00:00:00Z",
		1500: "20783 days ahead of its record's time, which cannot be right: 1500 milliseconds since 1970, which is " +
			"1970-01-01T00:00:01Z",
	} {
		err := checkFuture(dated.UnixMicro(), &kgo.Record{Timestamp: time.UnixMilli(stamp)}, 5*time.Minute)
		if got := deadLetter(&kgo.Record{}, [16]byte{}, err, nil); got.Detail != want ||
			got.Reason != event.ReasonFuture {
			t.Errorf("%d: %s %q, want %q", stamp, got.Reason, got.Detail, want)
		}
	}
	if err := checkFuture(dated.UnixMicro(), &kgo.Record{Timestamp: time.UnixMilli(-1)}, 5*time.Minute); err != nil {
		t.Errorf("a record without timestamp is judged: %v", err)
	}
}
