package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/audit"
	"firstclick/internal/kafkatest"
	"firstclick/pipeline"
)

// poison stores what a version that believed every time stored of the group after a click dated a
// day ahead: everything is final, the clicks of the last window are given up, and rows have no
// click.
func poison(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	exec(t, conn, `UPDATE firstclick.offsets
		SET watermark = committed_at + interval '1 day', final_before = committed_at + interval '23 h 44 min 45 s',
		expire_before = committed_at + interval '22 h 44 min 45 s', clicks_restore = clicks_next,
			recent_offset = next_offset,
		clicks_latest = array_fill(committed_at + interval '1 day', ARRAY[cardinality(clicks_next)])`)
	exec(t, conn, `UPDATE firstclick.progress
		SET watermark = updated_at + interval '1 day', final_before = updated_at + interval '23 h 44 min 45 s'`)
}

func TestTimesStoredUnderAWrongClockAreTakenBack(t *testing.T) {
	now := time.Now()
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(
		click("c1", 1, "p", stamp(now, -1800)), click("c2", 2, "p", stamp(now, -1700)),
		click("x", 9, "z", stamp(now, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0,
		values(checkout("old", 9, "q", "1", stamp(now, -1750)), checkout("recent", 1, "p", "1", stamp(now, -120)))...)
	drain(t, cfg)
	poison(t, conn)
	exec(t, conn, `UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL`)

	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("new", 2, "p", "1", stamp(now, -30)))...)
	drain(t, cfg)
	for id, want := range map[string]string{"new": "c2", "recent": "c1"} {
		if n := countRows(t, conn, `checkout_id = $1 AND click_id = $2`, id, want); n != 1 {
			t.Errorf("row %s has not the click %s, which had been given up", id, want)
		}
	}
	ahead := `SELECT count(*) FROM (SELECT watermark, final_before
		FROM firstclick.offsets UNION ALL SELECT watermark, final_before FROM firstclick.progress) t
		WHERE greatest(watermark, final_before) > now() + interval '5 minutes'`
	if n := count(t, conn, ahead); n != 0 {
		t.Errorf("%d rows of our own still say what lies ahead", n)
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.progress WHERE final_before IS NOT NULL`); n != 1 {
		t.Error("nothing is known to be final")
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.offsets
		WHERE clicks_latest[1] > now() + interval '1 h 5 min'`); n != 0 {
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

// The group stored wrong times within a year-old backlog. What waits is not late after they are
// taken back.
func TestABacklogIsNotLateAfterTimesAreTakenBack(t *testing.T) {
	year := time.Now().AddDate(-1, 0, 0)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(year, -1800)),
		click("x", 9, "z", stamp(year, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("recent", 1, "p", "1", stamp(year, -1700)))...)
	drain(t, cfg)
	poison(t, conn)
	kafkatest.Produce(t, brokers, "checkouts", 0,
		values(checkout("next", 1, "p", "1", stamp(year, -600)), checkout("after", 1, "p", "1", stamp(year, 600)))...)
	drain(t, cfg)
	if n := countRows(t, conn, `click_id = 'c1'`); n != 3 {
		t.Errorf("%d of 3 rows have their click", n)
	}
	if n := count(t, conn, `SELECT count(*) FROM firstclick.late`); n != 0 {
		t.Errorf("%d events of the backlog are noted as late", n)
	}
}

// drained is a group that has stored a checkout and its click of half an hour before.
func drained(t *testing.T) (pipeline.Config, *pgx.Conn) {
	t.Helper()
	now := time.Now()
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", stamp(now, -1800)),
		click("x", 9, "z", stamp(now, -60)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(now, -120)))...)
	drain(t, cfg)
	return cfg, conn
}

// Our clock is behind: nothing is taken back, because Postgres' own clock says that the stored
// times were right.
func TestAWrongClockOfOursTakesNothingBack(t *testing.T) {
	cfg, conn := drained(t)
	exec(t, conn, `UPDATE firstclick.offsets
		SET committed_at = committed_at + interval '1 year', watermark = watermark + interval '1 year',
		final_before = final_before + interval '1 year',
			expire_before = expire_before + interval '1 year'`) // as if our clock were a year behind
	drain(t, cfg)
	if n := count(t, conn, `SELECT count(*) FROM firstclick.offsets
		WHERE final_before > now() + interval '300 days'`); n != 1 {
		t.Error("what was final is so no more")
	}
}

// The shards' times were taken back, but the group's progress was not: a process was killed in
// between, or an older version stored it again.
func TestTheProgressIsTakenBackToo(t *testing.T) {
	cfg, conn := drained(t)
	exec(t, conn, `UPDATE firstclick.progress
		SET watermark = updated_at + interval '1 day', final_before = updated_at + interval '23 h 44 min 45 s'`)
	drain(t, cfg)
	if n := count(t, conn, `SELECT count(*) FROM firstclick.progress p WHERE final_before = (SELECT min(final_before)
		FROM firstclick.offsets)`); n != 1 {
		t.Error("readers are promised that rows of tomorrow do not move")
	}
}

// Rows that an older version wrote under a wrong clock have no click and are noted as late. Those
// that are not final are corrected after the next start. verify finds the others, and repair
// corrects them for good.
func TestRowsOfAPoisonedTimeAreMended(t *testing.T) {
	now := time.Now()
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	cfg := testConfig(t, brokers, dsn)
	ago := []float64{-3500, -3000, -2000, -1000, -500, -100}
	for i, seconds := range ago {
		user, partition := i+1, int32(i%2)
		kafkatest.Produce(t, brokers, "clicks", partition,
			values(click(fmt.Sprint("c", user), user, "p", stamp(now, seconds-1800)))...)
		kafkatest.Produce(t, brokers, "checkouts", partition,
			values(checkout(fmt.Sprint("k", user), user, "p", "1", stamp(now, seconds)))...)
		// read after the checkout
		kafkatest.Produce(t, brokers, "clicks", 1-partition,
			values(click(fmt.Sprint("first", user), user, "p", stamp(now, seconds-1900)))...)
	}
	drain(t, cfg)
	right := func() int64 {
		return countRows(t, conn, `click_id = 'first' || substr(checkout_id, 2)`)
	}
	if n := right(); n != int64(len(ago)) {
		t.Fatalf("%d of %d rows are right before anything is wrong", n, len(ago))
	}
	poison(t, conn)
	exec(t, conn, `UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL`)
	exec(t, conn, `INSERT INTO firstclick.late (group_id, topic, topic_id, partition, "offset", kind, event_id,
		user_id, product_id, event_time, recorded_at)
		SELECT p.group_id, 'checkouts', p.checkouts_topic_id, (n - 1) % 2, (n - 1) / 2, 'checkout', 'k' || n, n, 'p',
			r.checkout_time AT TIME ZONE 'UTC', r.checkout_time AT TIME ZONE 'UTC' + interval '2 s'
		FROM firstclick.progress p, generate_series(1, 6) n
			JOIN commerce.attributed_checkouts r ON r.checkout_id = 'k' || n`)
	drain(t, cfg)
	verify := func(when string) *audit.Report {
		t.Helper()
		r, err := audit.Verify(t.Context(), auditOf(cfg))
		if err != nil {
			t.Fatalf("verify %s: %v", when, err)
		}
		return r
	}
	healed := right()
	if healed < 2 {
		t.Errorf("%d rows are right after the start, want those that are not final: at least 2", healed)
	}
	if r := verify("before the repair"); r.OK() || r.Different != int64(len(ago))-healed {
		t.Errorf("verify finds %d rows different of %d that are wrong, and is content: %t", r.Different,
			int64(len(ago))-healed, r.OK())
	}
	for range 2 {
		if _, err := audit.Repair(t.Context(), auditOf(cfg)); err != nil {
			t.Fatal(err)
		}
		if n := right(); n != int64(len(ago)) {
			t.Errorf("%d of %d rows are right after the repair", n, len(ago))
		}
		if r := verify("after the repair"); !r.OK() || r.Explained > 0 || r.ExpectedDigest != r.ActualDigest {
			t.Errorf("verify after the repair: %+v", r)
		}
		drain(t, cfg)
	}
}

// auditOf is the audit of a group.
func auditOf(cfg pipeline.Config) audit.Config {
	return audit.Config{Kafka: cfg.Kafka, Database: cfg.Database, Group: cfg.Group}
}
