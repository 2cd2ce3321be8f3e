package audit

import (
	"testing"
	"time"
)

// A note of what was dated far ahead of the clock was not written too early; one of an ordinary
// event, under a watermark that ran ahead, was.
func TestWhatIsNotedTooEarly(t *testing.T) {
	s := &snapshot{window: time.Hour, lateness: 15 * time.Minute, outOfOrder: 15 * time.Second,
		skew: (5 * time.Minute).Microseconds()}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]bool{
		-20 * time.Minute: false, -5 * time.Minute: true, 0: true, 5 * time.Minute: true, 50 * time.Minute: true,
		58 * time.Minute: true, 59 * time.Minute: false, 65 * time.Minute: false, 26 * time.Hour: false,
		70_000 * time.Hour: false,
	} {
		if got := s.tooEarly(now.Add(ahead), now); got != want {
			t.Errorf("an event %v ahead of its note: too early %t, want %t", ahead, got, want)
		}
	}
}

// An event dated ahead stays noted until its time has passed in every shard: rows that need it may
// come until then.
func TestWhatIsFinalInEveryShard(t *testing.T) {
	s := &snapshot{shards: map[int32]shard{0: {finalBefore: 100}, 1: {finalBefore: 50}}}
	for at, want := range map[int64]bool{49: true, 50: false, 99: false, 100: false} {
		if got := s.finalAt(at); got != want {
			t.Errorf("%d: final %t, want %t", at, got, want)
		}
	}
}
