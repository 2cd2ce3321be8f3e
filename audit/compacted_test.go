package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// compact says that the topic is compacted, and takes a record: what is aborted is as little there
// as what compaction took.
func (w *world) compact(topic, value string) {
	w.t.Helper()
	policy := "compact"
	if _, err := kadm.NewClient(w.client()).AlterTopicConfigs(w.t.Context(),
		[]kadm.AlterConfig{{Name: "cleanup.policy", Value: &policy}}, topic); err != nil {
		w.t.Fatal(err)
	}
	abort := kgo.TryAbort
	w.transaction("compaction of "+topic, &abort, topic, value) // to partition 0, with a marker behind it
}

// What compaction took is no reason to call a row extra, but for no more rows than records, and
// nobody can tell.
func TestVerifyCompacted(t *testing.T) {
	type counts = map[string]int64
	for _, c := range []struct {
		name    string
		with    func(w *world)
		want    counts
		verdict Verdict
	}{
		{"a checkout", func(w *world) {
			w.compact("checkouts", checkoutOf("k5", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{4, 2})
			w.row("k5", "ann", "p", 0, "a", -50)
		}, counts{"Unverifiable": 1}, VerdictGreen},
		{"a checkout that is younger than what is there", func(w *world) {
			w.compact("checkouts", checkoutOf("k5", 1, "p", 40))
			w.read([2]int64{2, 2}, [2]int64{4, 2})
			w.row("k5", "ann", "p", 40, "", 0)
		}, counts{"Unverifiable": 1, "Doubtful": 1}, VerdictCannotTell},
		{"fewer than there are rows", func(w *world) {
			w.compact("checkouts", checkoutOf("k5", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{4, 2})
			for _, id := range []string{"k5", "k6", "k7"} { // of two offsets
				w.row(id, "ann", "p", 0, "a", -50)
			}
		}, counts{"Unverifiable": 2, "Extra": 1}, VerdictRed},
		{"a later record with its key", func(w *world) {
			w.compact("checkouts", checkoutOf("k5", 1, "p", 0))
			w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 0, `,"ip_address":"other"`))
			w.dead("checkouts", 0, 4, "conflict", "open")
			w.read([2]int64{2, 2}, [2]int64{5, 2})
			w.row("k5", "ann", "p", 0, "a", -50)
		}, counts{"Unverifiable": 1}, VerdictGreen},
		{"a dead letter", func(w *world) {
			w.compact("checkouts", "{")
			w.dead("checkouts", 0, 2, "json", "open")
			w.read([2]int64{2, 2}, [2]int64{4, 2})
		}, counts{}, VerdictGreen},
		{"a click", func(w *world) {
			w.compact("clicks", clickOf("0", 1, "p", -55))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = '0', click_time = $1::text::timestamp
				WHERE checkout_id = 'k1'`, at(-55))
			w.read([2]int64{4, 2}, [2]int64{2, 2})
		}, counts{"Unverifiable": 1}, VerdictGreen},
		{"not compacted: what is aborted made no row", func(w *world) {
			abort := kgo.TryAbort
			w.transaction("aborted", &abort, "checkouts", checkoutOf("k5", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{4, 2})
			w.row("k5", "ann", "p", 0, "a", -50)
		}, counts{"Extra": 1}, VerdictRed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			r := w.verify()
			w.expect(r, c.want)
			if r.Verdict != c.verdict {
				t.Errorf("the verdict is %s, want %s", r.Verdict, c.verdict)
			}
		})
	}
}

// A start by time finds no record that has no timestamp. Such a record of that time or later lies
// before the start, and is missing.
func TestVerifyStartWithoutTimestamps(t *testing.T) {
	w := newWorld(t)
	none := func(value string) *kgo.Record {
		return &kgo.Record{Value: []byte(value), Timestamp: time.UnixMilli(-1)}
	}
	kafkatest.ProduceRecords(t, w.brokers, "checkouts", 0, none(checkoutOf("k1", 1, "p", -1)),
		none(checkoutOf("k2", 1, "p", 0)))
	w.begun([2]int64{}, [2]int64{2, 0})
	w.exec(`UPDATE firstclick.progress SET checkouts_start = '{2,0}', start = '2026-11-23T12:00:00Z'`)
	r := w.verify()
	w.expect(r, map[string]int64{"Missing": 1})
	if len(r.Examples) != 1 || r.Examples[0].CheckoutID != "k2" ||
		!strings.Contains(r.Examples[0].Expected, "no timestamp") {
		t.Errorf("examples: %+v", r.Examples)
	}
}
