package pipeline_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/kafkatest"
)

// poison is what a version that believed any time has stored of the group, under a click dated a day ahead: everything is final, the clicks of
// the last window are given up, and rows have no click.
func poison(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	exec(t, conn, `UPDATE firstclick.offsets SET watermark = committed_at + interval '1 day', final_before = committed_at + interval '23 h 44 min 45 s',
		expire_before = committed_at + interval '22 h 44 min 45 s', clicks_restore = clicks_next, recent_offset = next_offset,
		clicks_latest = array_fill(committed_at + interval '1 day', ARRAY[cardinality(clicks_next)])`)
	exec(t, conn, `UPDATE firstclick.progress SET watermark = updated_at + interval '1 day', final_before = updated_at + interval '23 h 44 min 45 s'`)
}

func TestWhatWasStoredUnderAWrongClockHeals(t *testing.T) {
	now := time.Now()
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(
		click("c1", 1, "p", stamp(now, -1800)), click("c2", 2, "p", stamp(now, -1700)), click("x", 9, "z", stamp(now, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("old", 9, "q", "1", stamp(now, -1750)), checkout("recent", 1, "p", "1", stamp(now, -120)))...)
	drain(t, cfg)
	poison(t, conn)
	exec(t, conn, `UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL`)

	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("new", 2, "p", "1", stamp(now, -30)))...)
	drain(t, cfg)
	for id, want := range map[string]string{"new": "c2", "recent": "c1"} {
		if n := count(t, conn, `SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = $1 AND click_id = $2`, id, want); n != 1 {
			t.Errorf("row %s has not the click %s, which had been given up", id, want)
		}
	}
	ahead := `SELECT count(*) FROM (SELECT watermark, final_before FROM firstclick.offsets UNION ALL SELECT watermark, final_before FROM firstclick.progress) t
		WHERE greatest(watermark, final_before) > now() + interval '5 minutes'`
	if n := count(t, conn, ahead); n != 0 {
		t.Errorf("%d rows of our own still say what lies ahead", n)
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.progress WHERE final_before IS NOT NULL`); n != 1 {
		t.Error("nothing is known to be final")
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.offsets WHERE clicks_latest[1] > now() + interval '1 h 5 min'`); n != 0 {
		t.Error("a later gap would be false: the latest click is stored as one that lies ahead")
	}
	// From here on nothing goes back.
	final := func() int64 {
		return count(t, conn, `SELECT (extract(epoch FROM final_before) * 1000000)::bigint FROM firstclick.offsets`)
	}
	before := final()
	drain(t, cfg)
	if after := final(); after < before {
		t.Errorf("what is final went back by %v", time.Duration(before-after)*time.Microsecond)
	}
}

// A year-old backlog in which the group was poisoned: what waits is no later than it is.
func TestAPoisonedBacklogIsNotLateWhenItHeals(t *testing.T) {
	year := time.Now().AddDate(-1, 0, 0)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(year, -1800)), click("x", 9, "z", stamp(year, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("recent", 1, "p", "1", stamp(year, -1700)))...)
	drain(t, cfg)
	poison(t, conn)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("next", 1, "p", "1", stamp(year, -600)), checkout("after", 1, "p", "1", stamp(year, 600)))...)
	drain(t, cfg)
	if n := count(t, conn, `SELECT count(*) FROM commerce.attributed_checkouts WHERE click_id = 'c1'`); n != 3 {
		t.Errorf("%d of 3 rows have their click", n)
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.late`); n != 0 {
		t.Errorf("%d events of the backlog are noted as late", n)
	}
}

// A clock of ours that is behind is no reason to take anything back: Postgres' own, of when it was stored, says that it was right.
func TestAWrongClockOfOursTakesNothingBack(t *testing.T) {
	now := time.Now()
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(now, -1800)), click("x", 9, "z", stamp(now, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(now, -120)))...)
	drain(t, cfg)
	exec(t, conn, `UPDATE firstclick.offsets SET committed_at = committed_at + interval '1 year', watermark = watermark + interval '1 year',
		final_before = final_before + interval '1 year', expire_before = expire_before + interval '1 year'`) // as if our clock were a year behind
	drain(t, cfg)
	if n := count(t, conn, `SELECT count(*) FROM firstclick.offsets WHERE final_before > now() + interval '300 days'`); n != 1 {
		t.Error("what was final is so no more")
	}
}

// A process that was killed when the shards had healed, and an older version that told of the group's progress once more, leave that alone wrong.
func TestTheProgressHealsByItself(t *testing.T) {
	now := time.Now()
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(now, -1800)), click("x", 9, "z", stamp(now, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(now, -120)))...)
	drain(t, cfg)
	exec(t, conn, `UPDATE firstclick.progress SET watermark = updated_at + interval '1 day', final_before = updated_at + interval '23 h 44 min 45 s'`)
	drain(t, cfg)
	if n := count(t, conn, `SELECT count(*) FROM firstclick.progress p WHERE final_before = (SELECT min(final_before) FROM firstclick.offsets)`); n != 1 {
		t.Error("readers are promised that rows of tomorrow do not move")
	}
}
