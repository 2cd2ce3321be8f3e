//go:build attack

package attack

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"firstclick/internal/kafkatest"
)

// Somebody who has an old password learns nothing by it; we, who have it too after the shop has
// changed it, end after a minute, with one line that says why and without the password. Brokers
// that learn of it one after the other end nothing.
func TestPasswordIsChanged(t *testing.T) {
	const minute, short = time.Minute, 20 * time.Second
	start := func(t *testing.T, reauthenticate time.Duration) (*scene, *kafkatest.Rotation) {
		t.Parallel() // nearly all of it is waiting
		r := kafkatest.NewRotation(t, reauthenticate, kfake.SeedTopics(2, "clicks", "checkouts"))
		return begin(t, props{brokers: r.Client.Brokers, produce: r.Produce,
			env: []string{"KAFKA_SASL=" + r.Client.SASL, "KAFKA_USER=" + r.Client.User, "KAFKA_PASSWORD=" +
				r.Client.Password}}), r
	}
	refused := func(t *testing.T, s *scene, r *kafkatest.Rotation, since time.Time) {
		t.Helper()
		code := s.awaitEnd()
		if took := time.Since(since); took < minute {
			t.Errorf("ended after %v", took)
		}
		said, last := s.said(), ""
		for line := range strings.Lines(said) {
			last = line
		}
		if code != 1 || strings.Count(said, "refused by Kafka for 1m0s: was it changed?") != 1 ||
			!strings.HasPrefix(last, "firstclick: the user or the password") {
			t.Errorf("exit code %d\n%s", code, tail(said))
		}
		if strings.Contains(said, r.Client.Password) {
			t.Error("the password is in the log")
		}
	}
	t.Run("connections are refused", func(t *testing.T) {
		s, r := start(t, 0)
		r.Change()
		s.writes() // those that stand live on
		since := time.Now()
		r.Cut(time.Second)
		refused(t, s, r, since)
	})
	t.Run("authentication anew is refused", func(t *testing.T) {
		s, r := start(t, 5*time.Second)
		since := time.Now()
		r.Change()
		refused(t, s, r, since)
	})
	for name, reauthenticate := range map[string]time.Duration{"connections are refused for a while": 0,
		"authentication anew is refused for a while": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			s, r := start(t, reauthenticate)
			r.Change()
			r.Cut(time.Second)
			s.await("it is refused", func() bool { return r.Refused() > 0 })
			s.pause(short)
			r.ChangeBack()
			s.end()
		})
	}
}
