package pipeline

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestRefusalLasts(t *testing.T) {
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	refused, other := fmt.Errorf("ask: %w", kerr.SaslAuthenticationFailed), errors.New("connection reset")
	var r refusal
	for i, c := range []struct {
		after time.Duration
		err   error
		want  bool
	}{
		{0, other, false}, {2 * time.Minute, other, false}, // Kafka is away: it comes back
		{2 * time.Minute, refused, false}, {2*time.Minute + 59*time.Second, refused, false}, {3 * time.Minute, refused, true},
		{3 * time.Minute, nil, false}, {4 * time.Minute, refused, false}, {4*time.Minute + 30*time.Second, other, false}, {5 * time.Minute, refused, true},
	} {
		if got := r.lasts(c.err, noon.Add(c.after)); got != c.want {
			t.Errorf("%d: %v after %v: %v", i, c.err, c.after, got)
		}
	}
}
