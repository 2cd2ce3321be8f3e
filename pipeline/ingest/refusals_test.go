package ingest

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
	type step struct {
		after time.Duration
		who   string
		err   error
	}
	for name, c := range map[string]struct {
		steps []step
		want  bool
	}{
		"Kafka is away":      {[]step{{0, "a", other}, {2 * time.Minute, "a", other}}, false},
		"less than a minute": {[]step{{0, "a", refused}, {59 * time.Second, "a", refused}}, false},
		"a minute": {[]step{{0, "a", refused}, {30 * time.Second, "a", other},
			{time.Minute, "a", refused}}, true},
		"let in between": {[]step{{0, "a", refused}, {30 * time.Second, "a", nil},
			{time.Minute, "a", refused}}, false},
		"another was let in": {[]step{{0, "a", refused}, {30 * time.Second, "b", nil},
			{time.Minute, "a", refused}}, true},
		"each for a short time":     {[]step{{0, "a", refused}, {time.Minute, "b", refused}}, false},
		"not tried for a long time": {[]step{{0, "a", refused}, {time.Hour, "a", refused}}, false},
	} {
		r := Refusals{limit: time.Minute, clients: map[string]refusal{}}
		for _, s := range c.steps {
			r.note(s.who, s.err, noon.Add(s.after))
		}
		if err := r.Err(); (err != nil) != c.want || c.want && !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
