package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkaconn"
)

// Rotation is a fake cluster with SASL whose password can be changed under those who use it.
type Rotation struct {
	*kfake.Cluster
	Client   kafkaconn.Config // a client's settings, with the password from before
	producer kafkaconn.Config // another user's, whose password stays
	changed  atomic.Bool
	cutting  atomic.Pointer[cut]
	refused  atomic.Int64
}

// NewRotation runs such a cluster. Where reauthenticate is not zero, connections that stand must
// authenticate anew so often (connections.max.reauth.ms); else they live on with a password that
// was changed, as Kafka's do.
func NewRotation(t testing.TB, reauthenticate time.Duration, opts ...kfake.Opt) *Rotation {
	t.Helper()
	const mechanism, user, producer, password = "SCRAM-SHA-256", "app", "producer", "hush-before"
	opts = append(opts, kfake.EnableSASL(), kfake.Superuser(mechanism, user, password),
		kfake.Superuser(mechanism, producer, password))
	if reauthenticate > 0 {
		every := strconv.FormatInt(reauthenticate.Milliseconds(), 10)
		opts = append(opts, kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": every}))
	}
	r := &Rotation{Cluster: FakeCluster(t, opts...)}
	r.Client = kafkaconn.Config{Brokers: r.ListenAddrs(), SASL: kafkaconn.ScramSHA256, User: user, Password: password}
	r.producer = r.Client
	r.producer.User = producer
	first := []byte("n=" + user + ",") // of SCRAM's first message: RFC 5802, section 7
	r.ControlKey(kmsg.SASLAuthenticate.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.KeepControl()
		if !r.changed.Load() || !bytes.Contains(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes, first) {
			return nil, nil, false
		}
		// What a broker answers to a wrong password; kfake closes the connection instead.
		answer := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
		answer.ErrorMessage = kmsg.StringPtr("Authentication failed during authentication due to invalid credentials " +
			"with SASL mechanism SCRAM-SHA-256")
		r.refused.Add(1)
		return answer, nil, true
	})
	r.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.KeepControl()
		key, now := kmsg.Key(req.Key()), r.cutting.Load()
		authenticates := key == kmsg.ApiVersions || key == kmsg.SASLHandshake || key == kmsg.SASLAuthenticate
		if authenticates || now == nil || time.Now().After(now.until) || len(now.keys) > 0 &&
			!slices.Contains(now.keys, key) {
			return nil, nil, false
		}
		return nil, errors.New("cut"), true
	})
	return r
}

// Change has another password set: who authenticates with the one from before is refused.
func (r *Rotation) Change() { r.changed.Store(true) }

// ChangeBack lets the password from before in again.
func (r *Rotation) ChangeBack() { r.changed.Store(false) }

// cut is how connections end that stand.
type cut struct {
	until time.Time
	keys  []kmsg.Key // none: with any request
}

// Cut ends the connections that stand, as a broker's restart does: each with its next request, or
// with the next of some only, for a while.
func (r *Rotation) Cut(lasts time.Duration, with ...kmsg.Key) {
	r.cutting.Store(&cut{time.Now().Add(lasts), with})
}

// Produce writes records to a partition as another user, whose password stays.
func (r *Rotation) Produce(t testing.TB, topic string, partition int32, records ...*kgo.Record) {
	t.Helper()
	opts, err := r.producer.Opts()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatalf("make a Kafka client: %v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, record := range records {
		record.Topic, record.Partition = topic, partition
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("produce to %s/%d: %v", topic, partition, err)
	}
}

// Refused is how often somebody was refused.
func (r *Rotation) Refused() int64 { return r.refused.Load() }
