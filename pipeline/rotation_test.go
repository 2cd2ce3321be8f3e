package pipeline_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"firstclick/internal/kafkatest"
)

// rotated is a running pipeline whose Kafka password may change.
type rotated struct {
	*kafkatest.Rotation
	*working
	conn *pgx.Conn
	log  *heard
	rows int
}

// beginRotated starts the pipeline and waits for a row. refusedFor is as in pipeline.Config.
func beginRotated(t *testing.T, reauthenticate, refusedFor time.Duration) *rotated {
	t.Helper()
	r := &rotated{Rotation: kafkatest.NewRotation(t, reauthenticate, kfake.SeedTopics(1, "clicks", "checkouts")),
		log: &heard{}}
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, nil, dsn)
	cfg.Kafka, cfg.RefusedFor, cfg.Logger = r.Client, refusedFor, slog.New(slog.NewTextHandler(r.log, nil))
	r.conn, r.working = conn, begin(t, cfg)
	r.writes("before")
	return r
}

// writes sends a click and its checkout, and waits for the row.
func (r *rotated) writes(id string) {
	r.t.Helper()
	at := time.Now().Add(-time.Minute)
	r.Produce(r.t, "clicks", 0, &kgo.Record{Value: []byte(click("c-"+id, 1, "p-"+id, stamp(at, 1)))})
	r.Produce(r.t, "checkouts", 0, &kgo.Record{Value: []byte(checkout("k-"+id, 1, "p-"+id, "1", stamp(at, 2)))})
	r.rows++
	eventually(r.t, "a row", func() bool {
		if err := r.failed(); err != nil {
			r.t.Fatalf("ended with %v", err)
		}
		return countRows(r.t, r.conn, `click_id = 'c-' || substr(checkout_id, 3)`) == int64(r.rows)
	})
}

// endsRefused waits for the end of the run. The error says what is wrong and does not show the
// password.
func (r *rotated) endsRefused(refusedFor time.Duration) {
	r.t.Helper()
	changed := time.Now()
	err := r.fails()
	if took := time.Since(changed); took < refusedFor {
		r.t.Errorf("ended after %v, before %v", took, refusedFor)
	}
	if !errors.Is(err, kerr.SaslAuthenticationFailed) ||
		!strings.Contains(err.Error(), "refused by Kafka for "+refusedFor.String()+": was it changed?") ||
		strings.Contains(err.Error(), "\n") || strings.Contains(err.Error()+r.log.text.String(), r.Client.Password) {
		r.t.Errorf("ended with %v\n%s", err, r.log.text.String())
	}
}

// A password that was changed ends the run, whichever way Kafka refuses the old one.
func TestAChangedPasswordEndsTheRun(t *testing.T) {
	const refusedFor = 3 * time.Second
	t.Run("with the next connections", func(t *testing.T) {
		r := beginRotated(t, 0, refusedFor)
		r.Change()
		r.writes("meanwhile") // connections that stand go on
		r.Cut(time.Second)
		r.endsRefused(refusedFor)
	})
	t.Run("with the next authentication", func(t *testing.T) {
		r := beginRotated(t, 3*time.Second, refusedFor)
		r.Change()
		r.endsRefused(refusedFor)
	})
	// The client does not report that it is refused when it connects to fetch. Connections of other
	// requests stand.
	t.Run("with the next connections that fetch", func(t *testing.T) {
		r := beginRotated(t, 0, refusedFor)
		r.Change()
		r.Cut(time.Second, kmsg.Fetch)
		r.endsRefused(refusedFor)
	})
	t.Run("with the next connections to the group", func(t *testing.T) {
		r := beginRotated(t, 0, refusedFor)
		r.Change()
		r.Cut(time.Second, kmsg.JoinGroup, kmsg.Heartbeat)
		r.endsRefused(refusedFor)
	})
	// The requests at the start of an attempt may be refused too. The run neither ends sooner,
	// nor does the time begin anew.
	t.Run("while an attempt begins", func(t *testing.T) {
		r := beginRotated(t, 0, refusedFor)
		r.beginsAgainRefused()
		r.endsRefused(refusedFor)
	})
}

// beginsAgainRefused ends the attempt when Kafka already refuses the password.
func (r *rotated) beginsAgainRefused() {
	r.t.Helper()
	r.Change()
	again := r.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "clicks", Err: kerr.OffsetOutOfRange, Count: -1})
	r.Cut(patience, kmsg.ListOffsets)
	eventually(r.t, "another attempt", func() bool { return r.failed() != nil || r.Stats().Attempts > 1 })
	again.Remove()
	r.Cut(time.Second)
}

// A password that brokers learn of one after the other does not end the run: rows come when the
// last broker knows it.
func TestAShortRefusalEndsNothing(t *testing.T) {
	for name, reauthenticate := range map[string]time.Duration{"with the next connections": 0,
		"with the next authentication": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			r := beginRotated(t, reauthenticate, time.Minute)
			r.Change()
			r.Cut(time.Second)
			eventually(t, "refusals", func() bool { return r.failed() != nil || r.Refused() > 20 })
			r.ChangeBack()
			r.writes("after")
			if r.Stats().Attempts != 1 {
				t.Errorf("%d attempts", r.Stats().Attempts)
			}
		})
	}
	t.Run("while an attempt begins", func(t *testing.T) {
		r := beginRotated(t, 0, time.Minute)
		r.beginsAgainRefused()
		refused := r.Refused()
		eventually(t, "refusals", func() bool { return r.failed() != nil || r.Refused() > refused+4 })
		r.ChangeBack()
		r.writes("after")
	})
}
