package pipeline_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
	"firstclick/pipeline"
)

// testWriter hands the pipeline's log to the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

func testConfig(t testing.TB, brokers []string, dsn string) pipeline.Config {
	return pipeline.Config{
		Kafka: kafkaconn.Config{Brokers: brokers}, Database: dsn, UntilCaughtUp: true,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

// drain runs a pipeline until it has caught up.
func drain(t testing.TB, cfg pipeline.Config) pipeline.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := pipeline.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(ctx); err != nil {
		t.Fatalf("run: %v", err)
	}
	if ctx.Err() != nil {
		t.Fatalf("not caught up in two minutes: %+v", p.Stats())
	}
	return p.Stats()
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func exec(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t testing.TB, conn *pgx.Conn, sql string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// countRows counts the rows that fulfil a condition.
func countRows(t testing.TB, conn *pgx.Conn, where string, args ...any) int64 {
	t.Helper()
	return count(t, conn, `SELECT count(*) FROM commerce.attributed_checkouts WHERE `+where, args...)
}

// countLetters counts the dead letters that fulfil a condition.
func countLetters(t testing.TB, conn *pgx.Conn, where string, args ...any) int64 {
	t.Helper()
	return count(t, conn, `SELECT count(*) FROM firstclick.dead_letters WHERE `+where, args...)
}

func lines(t testing.TB, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
}

// spread produces values over the topic's partitions in turn.
func spread(t testing.TB, brokers []string, topic string, partitions int, values [][]byte) {
	t.Helper()
	parts := make([][][]byte, partitions)
	for i, v := range values {
		parts[i%partitions] = append(parts[i%partitions], v)
	}
	for p, vs := range parts {
		kafkatest.Produce(t, brokers, topic, int32(p), vs...)
	}
}

func prepare(t testing.TB, users int) (string, *pgx.Conn) {
	t.Helper()
	dsn := pgtest.New(t)
	conn := connect(t, dsn)
	exec(t, conn, `INSERT INTO commerce.users SELECT i, 'user-' || i, 'secret'
		FROM generate_series(0, $1::int - 1) i`, users)
	if err := cdc.EnsurePublication(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return dsn, conn
}

// seedAnswer is the meaning of a row as plain SQL over the raw events.
const seedAnswer = `
WITH c AS (SELECT v->>'click_id' AS id, (v->>'user_id')::int AS u, v->>'product_id' AS p,
	(v->>'datetime_occured')::timestamp AS t FROM raw_clicks),
     k AS (SELECT v->>'checkout_id' AS id, (v->>'user_id')::int AS u, v->>'product_id' AS p,
	(v->>'datetime_occured')::timestamp AS t,
                  (v->>'total_amount')::numeric(12,2) AS amount, v->>'shipping_address' AS ship FROM raw_checkouts)
SELECT k.id, k.p, k.amount, k.ship, k.t, x.id AS click, x.t AS click_time, users.username
FROM k LEFT JOIN commerce.users ON users.id = k.u
LEFT JOIN LATERAL (SELECT c.id, c.t FROM c WHERE c.u = k.u AND c.p = k.p AND c.t <= k.t
	AND c.t >= k.t - interval '1 hour'
                   ORDER BY c.t, c.id COLLATE "C" LIMIT 1) x ON true`

func TestTheRealEventsGiveTheRowsOfPlainSQL(t *testing.T) {
	brokers := kafkatest.Fake(t, 3, "clicks", "checkouts")
	dsn, conn := prepare(t, 100)
	clicks, checkouts := lines(t, "clicks.jsonl"), lines(t, "checkouts.jsonl")
	spread(t, brokers, "clicks", 3, clicks)
	spread(t, brokers, "checkouts", 3, checkouts)
	drain(t, testConfig(t, brokers, dsn))

	exec(t, conn, `CREATE TABLE raw_clicks (v jsonb); CREATE TABLE raw_checkouts (v jsonb)`)
	load := func(table string, values [][]byte) {
		for _, v := range values {
			exec(t, conn, `INSERT INTO `+table+` VALUES ($1::text::jsonb)`, string(v))
		}
	}
	load("raw_clicks", clicks)
	load("raw_checkouts", checkouts)
	have := `SELECT checkout_id, product_id, total_amount, shipping_address, checkout_time, click_id, click_time,
		user_name FROM commerce.attributed_checkouts`
	if n := count(t, conn, `SELECT count(*) FROM (`+have+` EXCEPT (`+seedAnswer+`)) d`); n != 0 {
		t.Errorf("%d rows are not in the answer", n)
	}
	if n := count(t, conn, `SELECT count(*) FROM ((`+seedAnswer+`) EXCEPT `+have+`) d`); n != 0 {
		t.Errorf("%d rows of the answer are missing", n)
	}
	if n := countRows(t, conn, `click_id IS NOT NULL`); n < 1000 {
		t.Errorf("only %d of the rows have a click: the answer proves little", n)
	}
	if n := countLetters(t, conn, `true`); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
