package sink

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgsession"
)

// asRole makes a role that may do all with the tables and end no stranger's session, and returns
// the database's address for it.
func (b *bench) asRole(name string) string {
	b.t.Helper()
	database := b.db.Config().Database
	role := name + "_" + database
	quoted := pgx.Identifier{role}.Sanitize()
	b.exec(`CREATE ROLE ` + quoted + ` LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA commerce, firstclick TO ` + quoted + `;
		GRANT ALL ON ALL TABLES IN SCHEMA commerce, firstclick TO ` + quoted + `;
		GRANT TEMPORARY ON DATABASE ` + database + ` TO ` + quoted)
	b.t.Cleanup(func() { _, _ = b.db.Exec(context.Background(), `DROP OWNED BY `+quoted+`; DROP ROLE `+quoted) })
	address, err := url.Parse(b.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	address.User = url.UserPassword(role, "x")
	return address.String()
}

// A takeover ends the sessions that the owner has noted. Whoever merely calls itself by the owner's
// application_name, under another role or the same, is left alone and is in nobody's way.
func TestTakeoverLeavesImpostorsAlone(t *testing.T) {
	b := newBench(t)
	ours := b.asRole("ours")
	old := b.open(ours, "firstclick-old", b.names)
	b.claim(old, 0)
	b.await(`SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'firstclick-old'`)
	var impostors []*pgx.Conn
	for _, dsn := range []string{b.asRole("guest"), ours, b.dsn} {
		conn, err := pgsession.Connect(t.Context(), dsn, "firstclick-old")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		impostors = append(impostors, conn)
	}
	b.claim(b.open(ours, "firstclick-new", b.names), 0)
	for i, conn := range impostors {
		if _, err := conn.Exec(t.Context(), `SELECT 1`); err != nil {
			t.Errorf("impostor %d: %v", i, err)
		}
	}
	b.await(`SELECT count(*) = 3 FROM pg_stat_activity WHERE application_name = 'firstclick-old'`)
	if !strings.Contains(b.log.String(), "ended the sessions") {
		t.Error("the owner's own session was not ended")
	}
}

// The sessions of an instance of an earlier version, which noted none, are those of our role with
// its name.
func TestTakeoverFromAVersionThatNotedNothing(t *testing.T) {
	b := newBench(t)
	ours := b.asRole("ours")
	b.claim(b.open(ours, "firstclick-old", b.names), 0)
	b.exec(`UPDATE firstclick.instances SET sessions = '{}'`)
	guest, err := pgsession.Connect(t.Context(), b.asRole("guest"), "firstclick-old")
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close(context.Background())
	b.claim(b.open(ours, "firstclick-new", b.names), 0)
	if _, err := guest.Exec(t.Context(), `SELECT 1`); err != nil {
		t.Error(err)
	}
	b.await(`SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'firstclick-old'`)
}

// Two instances under two roles: the error names both, and advises no right over strangers'
// sessions.
func TestTakeoverFromAnotherRole(t *testing.T) {
	b := newBench(t)
	b.claim(b.open(b.asRole("theirs"), "firstclick-old", b.names), 0)
	next := b.open(b.asRole("ours"), "firstclick-new", b.names)
	_, err := next.Claim(t.Context(), testGroup, checkouts, 0, State{Position: noPosition()})
	for _, want := range []string{"as role theirs_" + b.db.Config().Database, "as role ours_" + b.db.Config().Database,
		"under one role"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pg_signal_backend") {
			t.Fatalf("%v does not say %s", err, want)
		}
	}
}

// Sessions are found again in any time zone: that of the server, of the database, of the role.
func TestSessionsAreFoundInAnyZone(t *testing.T) {
	for _, zone := range []string{"America/St_Johns", "Asia/Kathmandu", "UTC"} {
		t.Run(zone, func(t *testing.T) {
			b := newBench(t)
			database := pgx.Identifier{b.db.Config().Database}.Sanitize()
			b.exec(fmt.Sprintf(`ALTER DATABASE %s SET timezone = '%s'; ALTER DATABASE %[1]s SET datestyle = 'SQL, DMY'`,
				database, zone))
			s := b.open(b.dsn, "firstclick-a", b.names)
			err := s.withConn(t.Context(), func(one *pgx.Conn) error {
				return s.withConn(t.Context(), func(other *pgx.Conn) error {
					if _, err := s.endSessions(t.Context(), other, sessionOfActivity+` = $1`,
						string(sessionOf(one.PgConn()))); err != nil {
						return err
					}
					if _, err := one.Exec(t.Context(), `SELECT 1`); err == nil {
						t.Error("it is still there")
					}
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A session that cannot be noted is not used.
func TestASessionThatIsNotNotedIsNotUsed(t *testing.T) {
	b := newBench(t)
	b.exec(`ALTER TABLE firstclick.instances DROP COLUMN sessions`)
	s := b.open(b.dsn, "firstclick-a", b.names)
	_, err := s.Claim(t.Context(), testGroup, checkouts, 0, State{Position: noPosition()})
	if err == nil || !strings.Contains(err.Error(), "note a database session") ||
		!strings.Contains(err.Error(), "firstclick migrate") {
		t.Fatal(err)
	}
	b.expect("0", `SELECT count(*) FROM firstclick.offsets`)
}
