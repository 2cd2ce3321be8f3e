package cdc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
	return conn
}

func must(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func columnsOf(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	var columns []string
	err := conn.QueryRow(t.Context(), "SELECT attnames::text[] FROM pg_publication_tables WHERE pubname = "+
		"'firstclick_users' AND tablename = 'users'").Scan(&columns)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

// problems returns the Problem of every SetupError joined in err.
func problems(err error) (found []Problem) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			found = append(found, problems(e)...)
		}
		return found
	}
	var setup *SetupError
	if errors.As(err, &setup) {
		found = append(found, setup.Problem)
	}
	return found
}

// checked joins what Check finds.
func checked(t *testing.T, conn *pgx.Conn) error {
	t.Helper()
	problems, err := Check(t.Context(), conn, "")
	for _, p := range problems {
		err = errors.Join(err, p)
	}
	return err
}

// listing is a server whose publications list columns (15 and later): the tests' own one if it is
// new enough.
func listing(t *testing.T) *pgserver.Server {
	t.Helper()
	server := pgtest.StartTemporary(t)
	major, _, _ := strings.Cut(server.Version(), ".")
	if n, err := strconv.Atoi(major); err != nil {
		t.Fatal(err)
	} else if n < 15 {
		server = pgtest.StartTemporary(t, pgserver.WithVersion(18))
	}
	return server
}

// TestPublicationFollowsTheTable: EnsurePublication makes any publication fit, and changes nothing
// the second time.
func TestPublicationFollowsTheTable(t *testing.T) {
	dsn := listing(t).DSN("postgres")
	if err := migrations.Up(t.Context(), dsn, nil); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	two, all := []string{"id", "username"}, []string{"id", "username", "password"}
	for _, step := range []struct {
		sql     string
		columns []string
	}{
		{"", two},
		{"ALTER TABLE commerce.users REPLICA IDENTITY FULL", all},
		{"ALTER TABLE commerce.users REPLICA IDENTITY DEFAULT", two},
		{"ALTER PUBLICATION firstclick_users SET TABLE commerce.users", two},
		{"ALTER PUBLICATION firstclick_users SET TABLE commerce.users (id, username) WHERE (id > 5)", two},
		{"ALTER PUBLICATION firstclick_users SET TABLE commerce.products", two},
		{"ALTER PUBLICATION firstclick_users SET (publish = 'insert')", two},
		{"DROP PUBLICATION firstclick_users; CREATE PUBLICATION firstclick_users FOR ALL TABLES", two},
		{"DROP PUBLICATION firstclick_users; CREATE PUBLICATION firstclick_users FOR TABLES IN SCHEMA commerce", two},
		{"ALTER PUBLICATION firstclick_users SET TABLE commerce.users (id, username); " +
			"ALTER TABLE commerce.users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (id, password)", all},
	} {
		if step.sql != "" {
			must(t, conn, step.sql)
		}
		for range 2 {
			if err := EnsurePublication(t.Context(), conn); err != nil {
				t.Fatalf("after %q: %v", step.sql, err)
			}
		}
		if got := columnsOf(t, conn); !slices.Equal(got, step.columns) {
			t.Errorf("after %q the columns are %v", step.sql, got)
		}
		must(t, conn, "INSERT INTO commerce.users VALUES (1, 'a', 'b'); UPDATE commerce.users SET username = 'c'; "+
			"DELETE FROM commerce.users")
	}
}

// TestPublicationConcurrently: instances that begin together do not fail each other.
func TestPublicationConcurrently(t *testing.T) {
	dsn := pgtest.New(t)
	var group sync.WaitGroup
	for range 6 {
		conn := connect(t, dsn)
		group.Go(func() {
			if err := EnsurePublication(t.Context(), conn); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// TestProblems: each problem says what is wrong and what mends it.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name, sql string
		problem   Problem
		text      string
	}{
		{"no table", "DROP TABLE commerce.users", ProblemTable, "firstclick migrate"},
		{"view", "DROP TABLE commerce.users; CREATE VIEW commerce.users AS SELECT 1 AS id, '' AS username",
			ProblemTable, "ordinary table"},
		{"no username", "ALTER TABLE commerce.users RENAME COLUMN username TO name", ProblemColumns, "RENAME COLUMN"},
		{"text id", "ALTER TABLE commerce.users ALTER COLUMN id TYPE text", ProblemColumns, "TYPE int"},
		{"no identity", "ALTER TABLE commerce.users REPLICA IDENTITY NOTHING", ProblemIdentity,
			"REPLICA IDENTITY DEFAULT"},
		{"no key", "ALTER TABLE commerce.users DROP CONSTRAINT users_pkey", ProblemIdentity, "ADD PRIMARY KEY (id)"},
		{"key without id", "ALTER TABLE commerce.users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (username)",
			ProblemIdentity, "REPLICA IDENTITY FULL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := connect(t, pgtest.New(t))
			if err := checked(t, conn); err != nil {
				t.Fatalf("before: %v", err)
			}
			must(t, conn, c.sql)
			for _, err := range []error{checked(t, conn), EnsurePublication(t.Context(), conn)} {
				if got := problems(err); !slices.Equal(got, []Problem{c.problem}) ||
					!strings.Contains(err.Error(), c.text) {
					t.Errorf("%v: %v", got, err)
				}
			}
		})
	}
}

// TestRights: the missing rights of a role are named, and none is needed for a publication that
// fits.
func TestRights(t *testing.T) {
	server := listing(t)
	m := newMirror(t, server.DSN("postgres"), Config{})
	usersTableIn(m)
	m.exec("CREATE ROLE reader LOGIN PASSWORD 'reader'")
	conn := connect(t, strings.Replace(server.DSN("postgres"), "postgres:postgres@", "reader:reader@", 1))
	check := func(want ...Problem) {
		t.Helper()
		if got := problems(checked(t, conn)); !slices.Equal(got, want) {
			t.Fatalf("problems %v, want %v", got, want)
		}
	}
	check(ProblemReplication, ProblemSelect)
	m.exec("ALTER ROLE reader REPLICATION; GRANT USAGE ON SCHEMA commerce TO reader; " +
		"GRANT SELECT (id, username) ON commerce.users TO reader")
	check(ProblemPublication)
	if got := problems(EnsurePublication(t.Context(), conn)); !slices.Equal(got, []Problem{ProblemPublication}) {
		t.Fatalf("problems %v", got)
	}
	m.exec("CREATE PUBLICATION firstclick_users FOR TABLE commerce.users (id, username)")
	check()
	if err := EnsurePublication(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
}

// TestWALLevel: the mirror says what to set. Meanwhile names are read through.
func TestWALLevel(t *testing.T) {
	server := pgtest.StartTemporary(t, pgserver.WithConfig(map[string]string{"wal_level": "replica"}))
	m := newMirror(t, server.DSN("postgres"), Config{})
	usersTableIn(m)
	m.insert(1, 3)
	if got := problems(checked(t, connect(t, m.dsn))); !slices.Equal(got, []Problem{ProblemWALLevel}) {
		t.Fatalf("problems %v", got)
	}
	m.run()
	m.until("the problem is known", func() bool {
		return strings.Contains(m.Stats().LastError,
			"ALTER SYSTEM SET wal_level = logical")
	})
	m.want(map[int32]string{1: "user 1"}, 1, 9)
}

// TestSlotsTaken: at first all slots are taken. That is logged once, and names are read through.
// The mirror takes a slot that becomes free. In the end no slot of ours remains.
func TestSlotsTaken(t *testing.T) {
	server := pgtest.StartTemporary(t, pgserver.WithConfig(map[string]string{"max_replication_slots": "1"}))
	m := newMirror(t, server.DSN("postgres"), Config{})
	usersTableIn(m)
	m.insert(1, 3)
	m.exec("SELECT pg_create_logical_replication_slot('others', 'pgoutput')")
	m.run()
	m.until("it has tried a few times", func() bool { return m.Stats().Reconnects > 3 })
	m.want(map[int32]string{1: "user 1"}, 1)
	if s := m.Stats(); !strings.Contains(s.LastError, "pg_drop_replication_slot('others')") || s.Connected {
		t.Fatalf("stats %+v", s)
	}
	if n := strings.Count(m.log.String(), "level=WARN"); n != 1 {
		t.Fatalf("%d warnings:\n%s", n, m.log)
	}
	m.exec("SELECT pg_drop_replication_slot('others')")
	m.standing()
	if n := m.slots(); n != 1 {
		t.Fatalf("%d slots while the stream stands", n)
	}
	m.stop()
	m.until("no slot remains", func() bool { return m.slots() == 0 })
}

func (m *mirror) slots() (n int) {
	m.t.Helper()
	if err := m.pool.QueryRow(m.ctx, "SELECT count(*) FROM pg_replication_slots").Scan(&n); err != nil {
		m.t.Fatal(err)
	}
	return n
}

// TestConfirms: what is applied is confirmed to the server, so that it can remove the WAL.
func TestConfirms(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{})
	m.run().standing()
	m.insert(1, 10)
	m.caughtUp()
	position := m.Stats().LastLSN
	m.until("the position is confirmed", func() bool {
		var ok bool
		err := m.pool.QueryRow(m.ctx, "SELECT coalesce(bool_and(confirmed_flush_lsn - '0/0'::pg_lsn >= $1), false) "+
			"FROM pg_replication_slots WHERE database = current_database()", fmt.Sprint(position)).Scan(&ok)
		if err != nil {
			m.t.Fatal(err)
		}
		return ok
	})
}
