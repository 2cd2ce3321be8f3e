package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

// A COMMIT hangs, as it does while a synchronous standby is away. A pipeline that is told to stop
// ends within 30 s and says why.
func TestStopWhileACommitHangs(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 1)
	if _, err := conn.Exec(t.Context(), `CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER hang AFTER INSERT ON commerce.attributed_checkouts DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION hang()`); err != nil {
		t.Fatal(err)
	}
	p := begin(t, testConfig(t, brokers, dsn))
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 1)))...)
	eventually(t, "a COMMIT hangs", func() bool {
		return count(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'
			AND datname = current_database()`) == 1
	})
	stopsInTime(t, p)
}

// The standby itself is away: every COMMIT waits, also those of the last report.
func TestStopWhileTheSynchronousStandbyIsAway(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	server := pgtest.StartTemporary(t, pgserver.WithSync())
	dsn := server.DSN("postgres")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	p := begin(t, testConfig(t, brokers, dsn))
	eventually(t, "it is ready", func() bool { return ready(p) })
	for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = 'away'`, `SELECT pg_reload_conf()`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 1)))...)
	eventually(t, "the row waits for the standby", func() bool {
		return count(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'
			AND datname = current_database()`) > 0
	})
	stopsInTime(t, p)
}

// stopsInTime checks that a pipeline that is told to stop while a COMMIT hangs ends within 30 s and
// says why.
func stopsInTime(t *testing.T, p *working) {
	t.Helper()
	began := time.Now()
	p.over = true
	p.stop()
	select {
	case err := <-p.ended:
		if err == nil || !strings.Contains(err.Error(), "synchronous standby") {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the pipeline does not end")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}
