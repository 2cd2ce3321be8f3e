package ingest

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

// Refusals measures for how long Kafka has refused the user or the password, over attempts.
// Standing connections work on for a while after a password was changed, and brokers learn of a new
// one one after the other, so a short refusal is normal. Safe for concurrent use.
type Refusals struct {
	limit   time.Duration
	mu      sync.Mutex
	clients map[string]refusal
	err     error
}

// refusal is when a client was refused first and last, without success in between.
type refusal struct{ first, last time.Time }

// Clients that can be refused, beside the readers at each broker: each talks with other brokers,
// over other connections.
const (
	clicksEnds    = "end offsets of clicks" // and the requests at the start of an attempt
	checkoutsEnds = "end offsets of checkouts"
	groupMember   = "group"
)

// IsRefusal says whether Kafka refused the user or the password.
func IsRefusal(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism)
}

// NoteAttempt notes the error that ended an attempt.
func (r *Refusals) NoteAttempt(err error) { r.note(clicksEnds, err, time.Now()) }

// note takes in the result of a client's request. nil is a success; an error that is no refusal
// says nothing.
func (r *Refusals) note(client string, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.clients, client)
	}
	if !IsRefusal(err) {
		return
	}
	seen, ok := r.clients[client]
	if !ok || now.Sub(seen.last) > r.limit { // a client that paused was not refused all the time
		seen.first = now
	}
	seen.last = now
	r.clients[client] = seen
	if now.Sub(seen.first) >= r.limit {
		r.err = fmt.Errorf("the user or the password has been refused by Kafka for %v: was it changed? Start again "+
			"with the new one: %w", r.limit, err)
	}
}

// Err is the error that ends the run once a client was refused for too long, else nil.
func (r *Refusals) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// fetchRefusals notes the refusals of a client's fetches. The client reports them nowhere but in
// its log, and tries again.
type fetchRefusals struct {
	refusals *Refusals
	client   string
}

func (f fetchRefusals) at(broker string) string { return f.client + " at broker " + broker }

// Level implements kgo.Logger.
func (fetchRefusals) Level() kgo.LogLevel { return kgo.LogLevelError }

// Log implements kgo.Logger. A line about a connection that is refused holds the error and the
// broker.
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
	if IsRefusal(refused) {
		f.refusals.note(f.at(broker), refused, time.Now())
	}
}

// OnBrokerE2E implements kgo.HookBrokerE2E: a fetch that was answered was not refused.
func (f fetchRefusals) OnBrokerE2E(broker kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if kmsg.Key(key) == kmsg.Fetch && e2e.Err() == nil {
		f.refusals.note(f.at(strconv.Itoa(int(broker.NodeID))), nil, time.Now())
	}
}
