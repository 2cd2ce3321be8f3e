package migrations_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oldPipeline is the schema of the old pipeline, with rows.
const oldPipeline = `
CREATE SCHEMA commerce;
CREATE TABLE commerce.users (id int PRIMARY KEY, username varchar(255) NOT NULL, password varchar(255) NOT NULL);
ALTER TABLE commerce.users REPLICA IDENTITY FULL;
CREATE TABLE commerce.products (id int PRIMARY KEY, name varchar(255) NOT NULL, description text, price real NOT NULL);
ALTER TABLE commerce.products REPLICA IDENTITY FULL;
CREATE TABLE commerce.attributed_checkouts (checkout_id varchar PRIMARY KEY, user_name varchar, click_id varchar,
	product_id varchar, payment_method varchar, total_amount decimal(5,2), shipping_address varchar,
	billing_address varchar, user_agent varchar, ip_address varchar, checkout_time timestamp, click_time timestamp);
INSERT INTO commerce.users VALUES (7, 'ada', 'secret');
INSERT INTO commerce.products VALUES (3, 'lamp', NULL, 9.5);
INSERT INTO commerce.attributed_checkouts VALUES ('c1', 'ada', 'k1', 'p1', 'card', 999.99, 'here', 'there', 'curl',
	'::1', '2024-01-02 03:04:05.678', '2024-01-02 03:00:00');
`

// commerceNow describes everything of schema commerce that a reader or the old pipeline could
// notice.
const commerceNow = `
SELECT c.relname || ' identity ' || c.relreplident::text || ' ' || string_agg(a.attname || ' ' ||
	format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, ', ' ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'commerce'::regnamespace AND c.relkind = 'r' GROUP BY c.relname, c.relreplident
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'commerce'
UNION ALL SELECT 'user ' || u::text FROM commerce.users u
UNION ALL SELECT 'product ' || p::text FROM commerce.products p
UNION ALL SELECT 'checkout ' || k::text FROM commerce.attributed_checkouts k
ORDER BY 1`

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

const applied = "SELECT version_id::text || ' ' || count(*) FROM firstclick.schema_version WHERE version_id > 0 " +
	"GROUP BY version_id ORDER BY version_id"

func TestUpTakesTheOldSchemaAsItIs(t *testing.T) {
	dsn := pgtest.Empty(t)
	conn := connect(t, dsn)
	execute(t, conn, oldPipeline)
	before := lines(t, conn, commerceNow)
	for range 2 {
		if err := migrations.Up(t.Context(), dsn, nil); err != nil {
			t.Fatal(err)
		}
		if after := lines(t, conn, commerceNow); after != before {
			t.Errorf("schema commerce was\n%s\nand is\n%s", before, after)
		}
		if got := lines(t, conn, applied); got != "1 1\n2 1\n3 1\n4 1\n6 1" {
			t.Errorf("versions and how often each was applied: %q", got)
		}
	}
	if !strings.Contains(before, "identity f") || !strings.Contains(before, "numeric(5,2)") {
		t.Errorf("not the old schema:\n%s", before)
	}
	if strings.Contains(lines(t, conn, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"), "goose") {
		t.Error("the version table is in schema public")
	}
}

func TestUpFillsAPartlyOldSchema(t *testing.T) {
	dsn := pgtest.Empty(t)
	conn := connect(t, dsn)
	execute(t, conn, "CREATE SCHEMA commerce; CREATE TABLE commerce.users (id int PRIMARY KEY, username "+
		"varchar(255) NOT NULL, password varchar(255) NOT NULL, email text)")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	got := lines(t, conn, "SELECT format('%s.%s %s', table_name, column_name, numeric_precision) FROM "+
		"information_schema.columns WHERE table_schema = 'commerce' AND column_name IN ('email', 'total_amount') "+
		"ORDER BY 1")
	if want := "attributed_checkouts.total_amount 12\nusers.email "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Stored offsets get the right values in a new column.
func TestUpOverStoredOffsets(t *testing.T) {
	dsn := pgtest.Empty(t)
	conn := connect(t, dsn)
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	execute(t, conn, "ALTER TABLE firstclick.offsets DROP COLUMN clicks_latest; "+
		"DELETE FROM firstclick.schema_version WHERE version_id >= 3")
	execute(t, conn, `INSERT INTO firstclick.offsets (group_id, topic, partition, next_offset, recent_offset,
		clicks_next, committed_at)
		VALUES ('g', 'checkouts', 0, 5, 5, '{3,4}', '2026-01-01 12:00Z'), ('g', 'checkouts', 1, 0, 0, '{}', now())`)
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	got := lines(t, conn, "SELECT (clicks_latest = ARRAY['2026-01-01 12:05Z', '2026-01-01 12:05Z']::timestamptz[])"+
		"::text || ' ' || cardinality(clicks_latest) FROM firstclick.offsets ORDER BY partition")
	if want := "true 2\nfalse 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestUpsAtOnce(t *testing.T) {
	for name, old := range map[string]string{"empty": "SELECT 1", "old schema": oldPipeline} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Empty(t)
			conn := connect(t, dsn)
			execute(t, conn, old)
			const instances = 8
			results := make(chan error, instances)
			for range instances {
				go func() { results <- migrations.Up(t.Context(), dsn, nil) }()
			}
			for range instances {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			if got := lines(t, conn, applied); got != "1 1\n2 1\n3 1\n4 1\n6 1" {
				t.Errorf("versions and how often each was applied: %q", got)
			}
			// The lock is free, or will be soon: Postgres releases it when it has read that the
			// session was closed.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := conn.Exec(ctx, fmt.Sprintf("SELECT pg_advisory_lock(%d)",
				int64(0x6669727374636c69))); err != nil {
				t.Errorf("take the lock afterwards: %v", err)
			}
		})
	}
}

func TestUpWaitsForTheLockAndHeedsItsContext(t *testing.T) {
	dsn := pgtest.Empty(t)
	other := connect(t, dsn)
	execute(t, other, fmt.Sprintf("SELECT pg_advisory_lock(%d)", int64(0x6669727374636c69)))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := migrations.Up(ctx, dsn, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v while another instance migrates", err)
	}
	if got := lines(t, other,
		"SELECT nspname::text FROM pg_namespace WHERE nspname IN ('firstclick', 'commerce')"); got != "" {
		t.Errorf("made %s without the lock", got)
	}
	// The other instance dies: its lock ends with its session.
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Error(err)
	}
}

func TestUpWithoutAnythingToDoNeedsNoRightToCreate(t *testing.T) {
	dsn := pgtest.New(t)
	conn := connect(t, dsn)
	role := "reader_" + conn.Config().Database
	execute(t, conn, "CREATE ROLE "+role+" LOGIN PASSWORD 'reader'; GRANT USAGE ON SCHEMA firstclick TO "+role+
		"; GRANT SELECT ON firstclick.schema_version TO "+role)
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	if err := migrations.Up(t.Context(), strings.Replace(dsn, "postgres:postgres@", role+":reader@", 1),
		nil); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	dsn := pgtest.Empty(t)
	conn := connect(t, dsn)
	describe := func() (text string) {
		t.Helper()
		statuses, err := migrations.Status(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statuses {
			text += fmt.Sprintf("%d %s %v\n", s.Version, s.File, !s.Applied.IsZero())
		}
		return text
	}
	if got, want := describe(), "1 00001_commerce.sql false\n2 00002_firstclick.sql false\n3 "+
		"00003_clicks_latest.sql false\n4 00004_max_future_skew.sql false\n6 00006_sessions.sql false\n"; got != want {
		t.Errorf("before: %q, want %q", got, want)
	}
	if got := lines(t, conn,
		"SELECT nspname::text FROM pg_namespace WHERE nspname IN ('firstclick', 'commerce')"); got != "" {
		t.Errorf("asking for the status made %s", got)
	}
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(), "1 00001_commerce.sql true\n2 00002_firstclick.sql true\n3 00003_clicks_latest.sql "+
		"true\n4 00004_max_future_skew.sql true\n6 00006_sessions.sql true\n"; got != want {
		t.Errorf("after: %q, want %q", got, want)
	}
}

func TestErrorsShowNoPassword(t *testing.T) {
	for _, dsn := range []string{"postgres://postgres:hunter2@127.0.0.1:1/postgres?connect_timeout=1",
		"postgres://postgres:hunter2@[::1/postgres", "host=127.0.0.1 port=x password=hunter2"} {
		up := migrations.Up(t.Context(), dsn, nil)
		_, status := migrations.Status(t.Context(), dsn)
		if up == nil || status == nil {
			t.Fatalf("%s: connected", dsn)
		}
		if text := up.Error() + status.Error(); strings.Contains(text, "hunter2") {
			t.Errorf("the error shows the password: %s", text)
		}
	}
}

// An older binary starts on a database that a newer one has migrated.
func TestUpOnANewerDatabase(t *testing.T) {
	dsn := pgtest.New(t)
	execute(t, connect(t, dsn), "INSERT INTO firstclick.schema_version (version_id, is_applied) VALUES (99999, true)")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Error(err)
	}
}

// everything describes all tables of both schemas.
const everything = `
SELECT n.nspname || '.' || c.relname || ' ' || string_agg(a.attname || ' ' || format_type(a.atttypid,
	a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
	|| coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') || CASE WHEN a.attidentity <> '' THEN ' identity'
		ELSE '' END, ', ' ORDER BY a.attname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname IN ('commerce', 'firstclick') AND c.relkind = 'r'
	AND c.relname <> 'schema_version' GROUP BY n.nspname, c.relname
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname IN ('commerce', 'firstclick')
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE 'firstclick%'
ORDER BY 1`

func describe(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// Whatever was dropped is made again as it was. What exists keeps its rows.
func TestRemake(t *testing.T) {
	tables, err := migrations.Tables()
	if err != nil {
		t.Fatal(err)
	}
	drops := []string{
		"SELECT 1", "DROP SCHEMA commerce CASCADE",
		"DROP TABLE firstclick.offsets, firstclick.progress, commerce.users",
		"ALTER TABLE firstclick.offsets DROP COLUMN clicks_latest, DROP COLUMN commits",
		"ALTER TABLE firstclick.dead_letters DROP COLUMN detail",
	}
	for _, table := range tables {
		drops = append(drops, "DROP TABLE "+table)
	}
	if len(drops) < 12 {
		t.Fatalf("only %d drops", len(drops))
	}
	for _, drop := range drops {
		t.Run(drop, func(t *testing.T) {
			dsn := pgtest.New(t)
			conn := connect(t, dsn)
			execute(t, conn, "INSERT INTO firstclick.unknown_users (user_id, checkout_id) VALUES (1, 'a'); "+
				"INSERT INTO commerce.attributed_checkouts (checkout_id) VALUES ('a')")
			before := describe(t, conn)
			execute(t, conn, drop)
			gone := describe(t, conn) != before
			if err := migrations.Up(t.Context(), dsn, nil); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			if err := migrations.Remake(t.Context(), dsn, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatal(err)
			}
			if drop == "DROP SCHEMA commerce CASCADE" { // only readers need products
				execute(t, conn, "CREATE TABLE commerce.products (id int PRIMARY KEY, name varchar(255) NOT NULL, "+
					"description text, price real NOT NULL)")
			}
			if after := describe(t, conn); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			if said := strings.Contains(log.String(), "made again"); said != gone {
				t.Errorf("said:\n%s", &log)
			}
			var kept int
			if err := conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM firstclick.unknown_users) + (SELECT "+
				"count(*) FROM commerce.attributed_checkouts)").Scan(&kept); err != nil {
				t.Fatal(err)
			}
			if dropped := strings.Contains(drop, "unknown_users") || strings.Contains(drop, "attributed") ||
				strings.Contains(drop, "SCHEMA commerce"); kept != 2 && !dropped {
				t.Errorf("%d rows are left", kept)
			}
		})
	}
}
