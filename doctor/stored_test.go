package doctor

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// A group at work whose topics have lost records that it had not read.
func TestStoredAgainstTheTopics(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	kafkatest.Produce(t, brokers, "checkouts", 0, []byte("{}"), []byte("{}"))
	dsn := pgtest.New(t)
	execute(t, dsn, `INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic, window_length, lateness,
			out_of_order, time_zone, start, clicks_start, checkouts_start)
			VALUES ('firstclick', 'clicks', 'checkouts', '2 hours', '15 minutes', '15 seconds', 'UTC', 'earliest',
				'{0}', '{0}');
		INSERT INTO firstclick.offsets (group_id, topic, partition, next_offset, recent_offset, clicks_next,
			committed_at) VALUES ('firstclick', 'checkouts', 0, 1, 0, '{7}', now() - interval '1 hour');
		INSERT INTO firstclick.instances (instance, group_id, host, pid, version)
			VALUES ('firstclick a', 'firstclick', 'h', 7, 'v1');
		INSERT INTO firstclick.instances (instance, group_id, host, pid, version, heartbeat_at)
			VALUES ('firstclick b', 'firstclick', 'h', 8, 'v1', now() - interval '1 hour');
		ALTER TABLE commerce.attributed_checkouts ALTER COLUMN total_amount TYPE decimal(5,2)`)
	r := Run(t.Context(), configFor(brokers, dsn))
	want(t, r, "settings", Fail, "--window 2h0m0s")
	want(t, r, "offsets", Fail, "clicks[0] ends at 0, and position 7")
	want(t, r, "group", Warn, "no instance runs; 1 checkouts behind")
	want(t, r, "instances", Warn, "firstclick b", "process 8")
	want(t, r, "instances", Warn, "partition 0 has committed nothing for 1h")
	want(t, r, "amounts", Warn, "1000 or more")
}

// The findings for a role with few rights hold the statements that are missing, and those suffice.
func TestRoleOfLittleRights(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn := pgtest.New(t)
	role := "weak_of_doctor"
	execute(t, dsn, `CREATE ROLE `+role+` LOGIN PASSWORD 'weak-hush'`)
	t.Cleanup(func() { // runs before the database is dropped
		drop(t, dsn, `DROP OWNED BY `+role+`; DROP ROLE `+role)
	})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "weak-hush")
	r := Run(t.Context(), configFor(brokers, u.String()))
	want(t, r, "permissions", Fail,
		"GRANT INSERT, SELECT, UPDATE (user_name, click_id, click_time) ON commerce.attributed_checkouts TO "+role,
		"GRANT USAGE ON SCHEMA firstclick")
	want(t, r, "replication right", Fail, "REPLICATION")
	want(t, r, "settings", Warn, "not visible: permission denied")
	silentAbout(t, r, "weak-hush")

	for _, f := range r.of("permissions") {
		execute(t, dsn, f.Fix)
	}
	r = Run(t.Context(), configFor(brokers, u.String()))
	want(t, r, "permissions", OK, role)
	want(t, r, "settings", OK, "has not begun")
}

// drop is execute when the test's context has ended.
func drop(t *testing.T, dsn, sql string) {
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Error(err)
	}
}
