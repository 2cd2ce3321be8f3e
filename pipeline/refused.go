package pipeline

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// refusedFor is how long Kafka may refuse us before that is no matter of brokers that learn of a new password one after the other.
const refusedFor = time.Minute

// refusal is since when Kafka has refused the user or the password, without an answer in between.
type refusal struct{ since time.Time }

// lasts takes in what came of a question, and says whether Kafka has been refusing for too long. Connections that stand go on for a while with a
// password that was changed; a process that cannot make new ones neither works nor ends.
func (r *refusal) lasts(err error, now time.Time) bool {
	switch {
	case err == nil:
		r.since = time.Time{}
	case r.since.IsZero() && errors.Is(err, kerr.SaslAuthenticationFailed):
		r.since = now
	}
	return err != nil && !r.since.IsZero() && now.Sub(r.since) >= refusedFor
}
