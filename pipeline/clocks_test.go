package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// wrongClocks are clicks of producers whose clocks are ahead. Their records have the same time, or
// none.
func wrongClocks(now time.Time) []*kgo.Record {
	var records []*kgo.Record
	add := func(id string, at, stamped time.Time) {
		records = append(records, &kgo.Record{Value: []byte(click(id, 9, "q", at.UTC().Format("2006-01-02 15:04:05"))),
			Timestamp: stamped})
	}
	for i, ahead := range []time.Duration{20 * time.Minute, 55 * time.Minute, 26 * time.Hour, 400 * 24 * time.Hour} {
		add(fmt.Sprintf("ahead-%d", i), now.Add(ahead), now.Add(ahead))
	}
	add("9999", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.UnixMilli(-1))
	return records
}

// A wrong clock of one device changes no row of others, neither now nor after a restart.
func TestOneWrongClockDecidesNothing(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	round := 0
	produce := func(w *working) {
		t.Helper()
		round++
		now := time.Now()
		kafkatest.ProduceRecords(t, brokers, "clicks", 0, wrongClocks(now)...)
		kafkatest.ProduceRecords(t, brokers, "checkouts", 0, &kgo.Record{
			Value:     []byte(checkout(fmt.Sprintf("ahead-%d", round), 9, "q", "1", stamp(now.Add(26*time.Hour), 600))),
			Timestamp: now.Add(27 * time.Hour),
		})
		eventually(t, "what the wrong clocks said is in", w.caughtUp)
		var clicks, checkouts []string
		for i := range 20 {
			product := fmt.Sprintf("p-%d-%d", round, i)
			clicks = append(clicks, click("c-"+product, 1, product, stamp(now, -600+float64(i))))
			checkouts = append(checkouts, checkout("k-"+product, 1, product, "1", stamp(now, -60+float64(i))))
		}
		kafkatest.Produce(t, brokers, "clicks", 0, values(clicks...)...)
		kafkatest.Produce(t, brokers, "checkouts", 0, values(checkouts...)...)
		eventually(t, "the rows are there", func() bool {
			return w.caughtUp() && countRows(t, conn, `user_name = 'user-1'`) == int64(20*round)
		})
	}
	for range 2 {
		w := begin(t, cfg)
		produce(w)
		produce(w)
		w.end()
	}
	if n := countRows(t, conn, `click_id IS NULL`); n != 0 {
		t.Errorf("%d rows have no click", n)
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.offsets
		WHERE greatest(watermark, final_before, expire_before) > now() + interval '5 minutes'`); n != 0 {
		t.Error("a watermark is ahead of the clock")
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.late
		WHERE event_id LIKE 'c-%' OR event_id LIKE 'k-%'`); n != 0 {
		t.Errorf("%d events that came in time are noted as late", n)
	}
	if n := countLetters(t, conn, `true`); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// An event that is dated further ahead than a restart reads again is noted, and joined with events
// that are dated like it.
func TestWhatIsDatedFarAheadIsJoinedAndNoted(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	now := time.Now()
	kafkatest.Produce(t, brokers, "clicks", 0, values(
		click("c1", 1, "p", stamp(now, -60)), click("c2", 1, "p", stamp(now, -50)),
		click("c3", 1, "p", stamp(now, -40)))...)
	ahead := now.Add(26 * time.Hour)
	kafkatest.ProduceRecords(t, brokers, "clicks", 0,
		&kgo.Record{Value: []byte(click("ahead", 2, "p", stamp(ahead, 0))), Timestamp: ahead})
	kafkatest.ProduceRecords(t, brokers, "checkouts", 0,
		&kgo.Record{Value: []byte(checkout("k", 2, "p", "1", stamp(ahead, 60))), Timestamp: ahead})
	if st := drain(t, testConfig(t, brokers, dsn)); st.FarClicks != 1 || st.FarCheckouts != 1 {
		t.Errorf("told of %d clicks and %d checkouts far ahead, want one each", st.FarClicks, st.FarCheckouts)
	}
	if n := countRows(t, conn, `checkout_id = 'k' AND click_id = 'ahead'`); n != 1 {
		t.Error("the checkout has not the click of its own device")
	}
	for kind, id := range map[string]string{"click": "ahead", "checkout": "k"} {
		if n := count(t, conn, `SELECT count(*) FROM firstclick.late WHERE kind = $1 AND event_id = $2
			AND product_id = 'p'`, kind, id); n != 1 {
			t.Errorf("the %s is not noted", kind)
		}
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.offsets
		WHERE clicks_restore[1] > 3 OR recent_offset <> 1`); n != 0 {
		t.Error("the restore points do not stand where nothing far ahead is waited for")
	}
}
