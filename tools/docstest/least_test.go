package docstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/doctor"
)

// Everything works with the rights that SECURITY.md gives, and what it says is withheld is
// withheld.
func TestLeastPrivilege(t *testing.T) {
	b := leastBed(t, true)
	b.exec(grants(t, "CREATE ROLE firstclick"))
	b.history()
	b.withheld()
	b.apart()

	b.must("run", "--until-caught-up", "--listen", "127.0.0.1:0", "--log-format", "text")
	if got := b.value(`
		SELECT string_agg(checkout_id || ' ' || coalesce(user_name, '-') || ' ' || coalesce(click_id, '-'),
			', ' ORDER BY checkout_id)
		FROM commerce.attributed_checkouts`); got != "k1 user 1 c1, k2 user 2 -, k3 - -" {
		t.Errorf("rows: %s", got)
	}
	if got := b.value(`SELECT string_agg(reason, ' ' ORDER BY reason) FROM ` +
		`firstclick.dead_letters`); got != "conflict json refused" {
		t.Errorf("dead letters: %s", got)
	}
	b.live()
	b.audited()
	b.letters()
	// Nothing that was to be retried changed the answer, and the next start finds nothing to
	// migrate.
	b.must("run", "--until-caught-up", "--listen", "127.0.0.1:0", "--no-migrate")
	b.must("verify", "--names")
	b.forgets()
}

// history produces what a run meets: a click, none, an unknown user, a duplicate, a conflict, an
// amount too large, no JSON.
func (b *bed) history() {
	b.click("c1", 1, -5)
	b.checkout("k1", 1, 0, "12.5")
	b.checkout("k2", 2, 0, "1")
	b.checkout("k3", 50, 0, "1")
	b.checkout("k1", 1, 0, "12.50")
	b.checkout("k1", 1, 0, "99")
	b.checkout("k4", 4, 0, "1e30")
	b.produce("clicks", 0, "{")
}

// withheld holds what SECURITY.md says the role may not do.
func (b *bed) withheld() {
	b.t.Helper()
	role, err := pgx.Connect(b.t.Context(), b.vars["DATABASE_URL"])
	if err != nil {
		b.t.Fatal(err)
	}
	defer role.Close(context.Background())
	for _, sql := range []string{
		"SELECT password FROM commerce.users", "SELECT * FROM commerce.users", "UPDATE commerce.users SET username = " +
			"'x'", "SELECT FROM commerce.products",
		"DELETE FROM commerce.attributed_checkouts", "TRUNCATE commerce.attributed_checkouts", "UPDATE " +
			"commerce.attributed_checkouts SET total_amount = 0",
		"DELETE FROM firstclick.dead_letters", "DELETE FROM firstclick.offsets", "CREATE TABLE firstclick.mine " +
			"()", "CREATE SCHEMA mine", "DROP PUBLICATION firstclick_users",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' AND datname = " +
			"current_database()",
	} {
		var refused *pgconn.PgError
		if _, err := role.Exec(b.t.Context(), sql); !errors.As(err, &refused) || refused.Code != "42501" {
			b.t.Errorf("%s: got %v, want a refusal", sql, err)
		}
	}
}

// apart holds that the role that writes cannot replicate, and the one that replicates cannot read
// or write a row.
func (b *bed) apart() {
	b.t.Helper()
	refused := func(what string, err error) {
		b.t.Helper()
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "42501" {
			b.t.Errorf("%s: got %v, want a refusal", what, err)
		}
	}
	writer, err := pgx.ParseConfig(b.vars["DATABASE_URL"])
	if err != nil {
		b.t.Fatal(err)
	}
	writer.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(b.t.Context(), &writer.Config)
	if err == nil { // Postgres 15 and older let it in, as far as the first command
		_, err = conn.Exec(b.t.Context(), "CREATE_REPLICATION_SLOT mine TEMPORARY LOGICAL test_decoding").ReadAll()
		defer conn.Close(context.Background())
	}
	refused("a slot of the role that writes", err)
	replicator, err := pgx.Connect(b.t.Context(), b.vars["DATABASE_REPLICATION"])
	if err != nil {
		b.t.Fatal(err)
	}
	defer replicator.Close(context.Background())
	for _, sql := range []string{
		"SELECT id FROM commerce.users", "SELECT FROM commerce.attributed_checkouts", "INSERT INTO " +
			"commerce.attributed_checkouts (checkout_id) VALUES ('x')",
		"UPDATE firstclick.offsets SET next_offset = 0", "CREATE TEMPORARY TABLE mine ()", "CREATE SCHEMA mine",
	} {
		_, err := replicator.Exec(b.t.Context(), sql)
		refused(sql, err)
	}
}

// live lets an instance take over from one that froze in a transaction, correct a row, follow the
// users and fill in a name.
func (b *bed) live() {
	frozen, err := pgx.ParseConfig(b.vars["DATABASE_URL"])
	if err != nil {
		b.t.Fatal(err)
	}
	frozen.RuntimeParams["application_name"] = "firstclick frozen"
	holder, err := pgx.ConnectConfig(b.t.Context(), frozen)
	if err != nil {
		b.t.Fatal(err)
	}
	defer holder.Close(context.Background())
	b.exec(`UPDATE firstclick.offsets SET owner = gen_random_uuid(), instance = 'firstclick frozen'`)
	if _, err := holder.Exec(b.t.Context(), `BEGIN; SELECT FROM firstclick.offsets FOR UPDATE`); err != nil {
		b.t.Fatal(err)
	}

	// before: a row keeps the name that the mirror had when it was written
	b.exec(`UPDATE commerce.users SET username = 'renamed' WHERE id = 3`)
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	ended := make(chan error, 1)
	var log string
	go func() {
		_, said, err := b.run(ctx, "run", "--listen", "127.0.0.1:0", "--log-format", "text")
		log = said
		ended <- err
	}()
	b.eventually("the frozen owner is ended",
		`SELECT (NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'firstclick frozen'))::text`)
	b.eventually("the users are streamed",
		`SELECT EXISTS (SELECT FROM pg_replication_slots WHERE active AND temporary)::text`)
	b.click("c0", 1, -6) // earlier than c1: corrects k1
	b.exec(`INSERT INTO commerce.users VALUES (50, 'came later', 'x')`)
	b.checkout("k5", 3, 1, "1")
	b.eventually("the rows are as they should be", `
		SELECT (count(*) = 4 AND bool_and(CASE checkout_id WHEN 'k1' THEN click_id = 'c0' AND user_name = 'user 1'
			WHEN 'k3' THEN user_name = 'came later' ELSE true END))::text FROM commerce.attributed_checkouts`)
	b.eventually("the instance says that it is there", `SELECT EXISTS (SELECT FROM firstclick.instances)::text`)
	report := b.doctor()
	if !report.OK() {
		b.t.Errorf("doctor beside the instance: %+v", report.Findings)
	}
	stop()
	if err := <-ended; err != nil {
		b.t.Errorf("run: %v\n%s", err, log)
	}
	if strings.Contains(log, "level=ERROR") || strings.Contains(log, "permission denied") {
		b.t.Errorf("the log complains:\n%s", log)
	}
}

func (b *bed) doctor() (report doctor.Report) {
	b.t.Helper()
	out, _, err := b.run(b.t.Context(), "doctor", "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		b.t.Fatalf("doctor said %q: %v", out, err)
	}
	if (err == nil) != report.OK() {
		b.t.Errorf("doctor: %v, but %d fail", err, report.Failed)
	}
	return report
}

// audited verifies, explains, and repairs a row that was left wrong by a click that came too late.
func (b *bed) audited() {
	b.must("verify", "--names")
	if out := b.must("explain", "k1"); !strings.Contains(out, "c0") {
		b.t.Errorf("explain: %s", out)
	}
	b.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'c1', click_time = click_time + interval '1 minute' ` +
		`WHERE checkout_id = 'k1'`)
	b.exec(`INSERT INTO firstclick.late
			(group_id, topic, topic_id, partition, "offset", kind, event_id, user_id, product_id, event_time)
		SELECT 'firstclick', 'clicks', clicks_topic_id, 1, 1, 'click', 'c0', 1, 'p', now() - interval '16 minutes'
		FROM firstclick.progress`)
	b.must("repair")
	if got := b.value(`SELECT click_id FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`); got != "c0" {
		b.t.Errorf("repair left %s", got)
	}
	if report := b.doctor(); !report.OK() {
		b.t.Errorf("doctor: %+v", report.Findings)
	}
}

// forgets holds that --dead-letters-retention needs one right more, and that one alone.
func (b *bed) forgets() {
	b.t.Helper()
	b.exec(`UPDATE firstclick.dead_letters SET created_at = now() - interval '2 hours' WHERE status = 'dropped'`)
	others := b.value(`SELECT string_agg(status, ' ' ORDER BY id) FROM firstclick.dead_letters WHERE status <> ` +
		`'dropped'`)
	b.exec(grants(b.t, "GRANT DELETE ON firstclick.dead_letters"))
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, said, err := b.run(ctx, "run", "--listen", "127.0.0.1:0", "--dead-letters-retention", "1h")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, said)
		}
		ended <- err
	}()
	b.eventually("the old letter is forgotten",
		`SELECT (NOT EXISTS (SELECT FROM firstclick.dead_letters WHERE status = 'dropped'))::text`)
	if left := b.value(`SELECT string_agg(status, ' ' ORDER BY id) FROM firstclick.dead_letters`); left != others {
		b.t.Errorf("%s are left of the others, %s", left, others)
	}
	stop()
	if err := <-ended; err != nil {
		b.t.Errorf("run: %v", err)
	}
}

func (b *bed) letters() {
	if out := b.must("dead-letters", "list"); strings.Count(out, "\n") != 4 {
		b.t.Errorf("list: %s", out)
	}
	b.must("dead-letters", "show", b.value(`SELECT id::text FROM firstclick.dead_letters WHERE reason = 'json'`),
		"--raw")
	b.must("dead-letters", "retry", "--reason", "refused", "--yes")
	b.must("dead-letters", "drop", "--reason", "json", "--yes")
	if got := b.value(`SELECT string_agg(status, ' ' ORDER BY status) FROM ` +
		`firstclick.dead_letters`); got != "dropped open retried" {
		b.t.Errorf("dead letters are %s", got)
	}
}

// Without the right to produce all else works, and retry says which right it needs.
func TestLeastPrivilegeWithoutRetry(t *testing.T) {
	b := leastBed(t, false)
	b.exec(grants(t, "CREATE ROLE firstclick"))
	b.history()
	b.must("run", "--until-caught-up", "--listen", "127.0.0.1:0")
	b.must("verify")
	b.must("doctor")
	_, _, err := b.run(t.Context(), "dead-letters", "retry", "--reason", "refused", "--yes")
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "authoriz") {
		t.Errorf("retry: %v", err)
	}

	// A new version whose migrations nobody has run as the owner: said so, and nothing is touched.
	b.exec(`DELETE FROM firstclick.schema_version WHERE version_id > 1`)
	_, _, err = b.run(t.Context(), "run", "--until-caught-up", "--listen", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "run firstclick migrate as their owner") {
		t.Errorf("run before a migration: %v", err)
	}
}

// A reader sees the rows and what is final, and nothing else.
func TestReader(t *testing.T) {
	b := leastBed(t, false)
	b.exec(grants(t, "CREATE ROLE reader"))
	config, err := pgx.ParseConfig(b.dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = "reader", "choose another"
	reader, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	if _, err := reader.Exec(t.Context(),
		`SELECT FROM commerce.attributed_checkouts, firstclick.progress`); err != nil {
		t.Error(err)
	}
	for _, table := range []string{"commerce.users", "firstclick.dead_letters"} {
		if _, err := reader.Exec(t.Context(), `SELECT FROM `+table); err == nil {
			t.Errorf("a reader may look into %s", table)
		}
	}
}

// What doctor says a bare role lacks is, right for right, what SECURITY.md gives.
func TestDoctorGivesTheSameRights(t *testing.T) {
	b := leastBed(t, false)
	const held = `SELECT string_agg(r, E'\n' ORDER BY r) FROM (
		SELECT table_schema || '.' || table_name || ' ' || privilege_type AS r
			FROM information_schema.role_table_grants WHERE grantee = 'firstclick'
		UNION ALL SELECT table_schema || '.' || table_name || '.' || column_name || ' ' || privilege_type
			FROM information_schema.role_column_grants WHERE grantee = 'firstclick'
		UNION ALL SELECT nspname || ' ' || p FROM pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) p
			WHERE nspname IN ('commerce', 'firstclick') AND has_schema_privilege('firstclick', oid, p)
		UNION ALL SELECT p FROM unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) p
			WHERE has_database_privilege('firstclick', 'postgres', p)) h`
	b.exec(grants(t, "CREATE ROLE firstclick"))
	want := b.value(held)

	b.exec(`DROP OWNED BY firstclick; DROP PUBLICATION firstclick_users; ALTER ROLE firstclick NOREPLICATION; GRANT ` +
		`CONNECT ON DATABASE postgres TO firstclick`)
	for range 5 { // what one report cannot see is in the next
		report := b.doctor()
		if report.OK() {
			break
		}
		for _, f := range report.Findings {
			if f.Status != doctor.Fail {
				continue
			}
			sql := strings.TrimPrefix(f.Fix, "run as a superuser or the table's owner: ")
			if _, err := b.owner.Exec(t.Context(), sql); err != nil {
				t.Errorf("the fix %q: %v", sql, err)
			}
		}
	}
	if report := b.doctor(); !report.OK() {
		t.Errorf("doctor: %+v", report.Findings)
	}
	if got := b.value(held); got != want {
		t.Errorf("doctor's fixes give\n%s\nSECURITY.md gives\n%s", got, want)
	}
	b.must("run", "--until-caught-up", "--listen", "127.0.0.1:0")
}
