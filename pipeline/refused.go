package pipeline

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusals knows for how long Kafka has refused the user or the password, over sessions.
// Connections that stand go on for a while with a password that was changed; a process that cannot
// make new ones neither works nor ends. Brokers learn of a new password one after the other, so
// that a short refusal is no matter. Safe for concurrent use.
type refusals struct {
	limit time.Duration
	mu    sync.Mutex
	by    map[string]refusal // by who was refused
	over  error
}

// refusal is when somebody was refused first, and last, without being let in between.
type refusal struct{ first, last time.Time }

// Who is refused, beside the readers: each is let in by other brokers, over other connections.
const (
	asksClicks    = "ask about clicks" // and whoever asks when a session begins: the answer to all of that lets it in
	asksCheckouts = "ask about checkouts"
	inGroup       = "be in the group"
)

// isRefusal says whether Kafka did not let us in.
func isRefusal(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism)
}

// note takes in what came of somebody's try; nil: it was let in. What is no refusal tells nothing.
func (r *refusals) note(who string, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.by, who)
	}
	if !isRefusal(err) {
		return
	}
	last, ok := r.by[who]
	if !ok || now.Sub(last.last) > r.limit { // who did not try any more was not refused all the while
		last.first = now
	}
	last.last = now
	if r.by == nil {
		r.by = map[string]refusal{}
	}
	r.by[who] = last
	if now.Sub(last.first) >= r.limit {
		r.over = fmt.Errorf("the user or the password has been refused by Kafka for %v: was it changed? Start again with the new one: %w", r.limit, err)
	}
}

// lasting is what ends the run; nil: nothing does.
func (r *refusals) lasting() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// fetchRefusals notes what a client's fetches meet. The client tells nobody else when it cannot
// connect for one, and tries on.
type fetchRefusals struct {
	refused *refusals
	client  string
}

func (f fetchRefusals) who(broker string) string { return f.client + " at broker " + broker }

// Level is part of kgo.Logger.
func (fetchRefusals) Level() kgo.LogLevel { return kgo.LogLevelError }

// Log is part of kgo.Logger: errors that the client logs hold those of connections that are
// refused, each with its broker.
func (f fetchRefusals) Log(_ kgo.LogLevel, _ string, keyvals ...any) {
	broker, refused := "", error(nil)
	for i := 1; i < len(keyvals); i += 2 {
		switch v := keyvals[i].(type) {
		case string:
			if keyvals[i-1] == "broker" {
				broker = v
			}
		case error:
			refused = v
		}
	}
	if isRefusal(refused) {
		f.refused.note(f.who(broker), refused, time.Now())
	}
}

// OnBrokerE2E is part of kgo.HookBrokerE2E: a fetch that is answered was let in.
func (f fetchRefusals) OnBrokerE2E(broker kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if kmsg.Key(key) == kmsg.Fetch && e2e.Err() == nil {
		f.refused.note(f.who(strconv.Itoa(int(broker.NodeID))), nil, time.Now())
	}
}
