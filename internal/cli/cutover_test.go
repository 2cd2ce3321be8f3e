package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/audit"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// oldJob returns a Kafka with eight checkouts of different products, each after two clicks, and a
// table as another job left it.
func oldJob(t *testing.T) (db *pgx.Conn, vars map[string]string) {
	t.Helper()
	dsn, brokers := pgtest.New(t), kafkatest.Fake(t, 1, "clicks", "checkouts")
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	produce := func(topic, form string, args ...any) {
		kafkatest.ProduceRecords(
			t,
			brokers,
			topic,
			0,
			&kgo.Record{Value: fmt.Appendf(nil, form, args...), Timestamp: noon},
		)
	}
	for i := range 8 {
		for _, click := range []string{"a", "b"} {
			minute := 10
			if click == "b" {
				minute = 40
			}
			produce(
				"clicks",
				`{"click_id":"%s%d","user_id":1,"product_id":"p%d","datetime_occured":"2026-11-23 11:%d:00"}`,
				click,
				i,
				i,
				minute,
			)
		}
		produce(
			"checkouts",
			`{"checkout_id":"k%d","user_id":1,"product_id":"p%d","total_amount":5,`+
				`"datetime_occured":"2026-11-23 12:00:00"}`,
			i,
			i,
		)
	}
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(t.Context()) })
	// k0 and k1 are right, k2 and k3 have the last click, k4 has none, k5 to k7 are missing.
	_, err = db.Exec(t.Context(), `INSERT INTO commerce.users VALUES (1, 'ann', 'x'); CREATE SCHEMA scratch;
		INSERT INTO commerce.attributed_checkouts (checkout_id, user_name, product_id, total_amount, checkout_time,
		click_id, click_time)
		SELECT 'k' || i, 'ann', 'p' || i, 5, '2026-11-23 12:00',
		CASE WHEN i < 2 THEN 'a' || i WHEN i < 4 THEN 'b' || i END,
		       CASE WHEN i < 2 THEN timestamp '2026-11-23 11:10' WHEN i < 4 THEN timestamp '2026-11-23 11:40' END
		       FROM generate_series(0, 4) i`)
	if err != nil {
		t.Fatal(err)
	}
	return db, map[string]string{"DATABASE_URL": dsn, "KAFKA_BROKERS": strings.Join(brokers, ",")}
}

// comparedTable runs compare and reads its report.
func comparedTable(t *testing.T, vars map[string]string) audit.Comparison {
	t.Helper()
	// All records count: with --grace 0 none is too young.
	out, _, err := invoke(
		t.Context(),
		vars,
		"compare",
		"--table",
		"commerce.attributed_checkouts",
		"--json",
		"--grace",
		"0s",
	)
	var r audit.Comparison
	if failed := json.Unmarshal([]byte(out), &r); failed != nil {
		t.Fatalf("%v, %v: %s", err, failed, out)
	}
	if r.OK() != (err == nil) || err != nil && !errors.Is(err, errDiffers) {
		t.Errorf("%v for %s", err, out)
	}
	return r
}

// The first way of docs/operations.md: firstclick continues in the old job's table, and corrects
// its rows.
func TestCutOverInPlace(t *testing.T) {
	_, vars := oldJob(t)
	if r := comparedTable(t, vars); r.Same != 2 || r.Later != 2 || r.Unattributed != 1 || r.Missing != 3 ||
		r.Different != 3 {
		t.Errorf("before: %+v", r)
	}
	if out, log, err := invoke(t.Context(), vars, "run", "--until-caught-up", "--listen", "127.0.0.1:0"); err != nil {
		t.Fatalf("%v\n%s%s", err, out, log)
	}
	if r := comparedTable(t, vars); r.Same != 8 || r.ExpectedDigest != r.ActualDigest {
		t.Errorf("after: %+v", r)
	}
	if out, log, err := invoke(t.Context(), vars, "verify"); err != nil {
		t.Errorf("verify: %v\n%s%s", err, out, log)
	}
}

// Exit code 1 of these commands means that rows are wrong. A flag that does not fit the group is a
// usage error, as for run.
func TestFlagsThatDoNotFitTheGroup(t *testing.T) {
	_, vars := oldJob(t)
	if out, log, err := invoke(t.Context(), vars, "run", "--until-caught-up", "--listen", "127.0.0.1:0"); err != nil {
		t.Fatalf("%v\n%s%s", err, out, log)
	}
	for args, says := range map[string]string{
		"verify --window 30m":          "runs with window 1h0m0s, not 30m0s",
		"repair --lateness 1m":         "runs with lateness 15m0s, not 1m0s",
		"explain k0 --time-zone Japan": "runs with time zone UTC, not Japan",
	} {
		_, _, err := invoke(t.Context(), vars, strings.Fields(args)...)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// The second way: a new table, with rows of the old one that Kafka no longer holds.
func TestCutOverAnew(t *testing.T) {
	db, vars := oldJob(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	// An old row, and one with a click that never existed: in place it would stay, for rows only
	// move to earlier clicks.
	exec(`INSERT INTO commerce.attributed_checkouts (checkout_id, checkout_time) VALUES ('of last year', '2025-11-23');
		UPDATE commerce.attributed_checkouts SET click_id = '0', click_time = '2026-11-23 11:05'
		WHERE checkout_id = 'k0'`)
	exec(`ALTER TABLE commerce.attributed_checkouts RENAME TO attributed_checkouts_old;
		ALTER TABLE commerce.attributed_checkouts_old 
			RENAME CONSTRAINT attributed_checkouts_pkey TO attributed_checkouts_old_pkey;
		CREATE TABLE commerce.attributed_checkouts (LIKE commerce.attributed_checkouts_old INCLUDING ALL)`)
	if out, log, err := invoke(t.Context(), vars, "run", "--until-caught-up", "--listen", "127.0.0.1:0"); err != nil {
		t.Fatalf("%v\n%s%s", err, out, log)
	}
	if r := comparedTable(t, vars); r.Same != 8 || r.Extra != 0 {
		t.Errorf("after: %+v", r)
	}
	exec(
		`INSERT INTO commerce.attributed_checkouts SELECT *
			FROM commerce.attributed_checkouts_old ON CONFLICT (checkout_id) DO NOTHING`,
	)
	if r := comparedTable(t, vars); r.Same != 8 || r.Extra != 1 {
		t.Errorf("with the rows of the old table: %+v", r)
	}
}

func TestWhatIfCommand(t *testing.T) {
	db, vars := oldJob(t)
	out, _, err := invoke(t.Context(), vars, "whatif", "--window", "30m", "--into", "scratch.half_hour")
	if err != nil || !strings.Contains(out, "scratch.half_hour: model first, window 30m0s: 8 rows of 8 checkouts") {
		t.Errorf("%v, %s", err, out)
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM scratch.half_hour
		WHERE click_id = 'b' || right(checkout_id, 1)`).Scan(&n); err != nil ||
		n != 8 {
		t.Errorf("%d rows, %v", n, err)
	}
	for args, says := range map[string]string{
		"--into scratch.half_hour":       "--replace",
		"--into nowhere.x":               "CREATE SCHEMA",
		"--into commerce.users":          "not for this",
		"--into scratch.x --model worst": "first, last, linear",
	} {
		_, _, err := invoke(t.Context(), vars, append([]string{"whatif"}, strings.Fields(args)...)...)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if _, _, err := invoke(t.Context(), vars, "compare", "--table", "nowhere.x"); err == nil ||
		!strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v", err)
	}
}
