package cdc

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"firstclick/internal/pgtest"
)

// alterations are DDL and what goes with it. Postgres refuses many of them in the state that others
// left. That is expected.
var alterations = []string{
	"ALTER TABLE commerce.users ALTER COLUMN username TYPE text USING upper(username::text)",
	"ALTER TABLE commerce.users ALTER COLUMN username TYPE varchar(100) USING username::text || '+'",
	"ALTER TABLE commerce.users ALTER COLUMN username TYPE char(30)",
	"ALTER TABLE commerce.users ALTER COLUMN id TYPE bigint",
	"ALTER TABLE commerce.users ALTER COLUMN id TYPE int USING -id",
	`BEGIN; ALTER TABLE commerce.users RENAME COLUMN username TO other;
		ALTER TABLE commerce.users RENAME COLUMN password TO username;
		ALTER TABLE commerce.users RENAME COLUMN other TO password; COMMIT`,
	"ALTER TABLE commerce.users RENAME COLUMN username TO name",
	"ALTER TABLE commerce.users RENAME COLUMN name TO username",
	"ALTER TABLE commerce.users DROP COLUMN username, ADD COLUMN username text NOT NULL DEFAULT 'new column'",
	"ALTER TABLE commerce.users ADD COLUMN extra text DEFAULT 'x'",
	"ALTER TABLE commerce.users DROP COLUMN extra",
	`BEGIN; ALTER TABLE commerce.users RENAME TO swapped; ALTER TABLE commerce.spare RENAME TO users;
		ALTER TABLE commerce.swapped RENAME TO spare; COMMIT`,
	"DROP TABLE commerce.users CASCADE",
	"CREATE TABLE IF NOT EXISTS commerce.users (id int PRIMARY KEY, username varchar(255), password varchar(255))",
	"CREATE TABLE IF NOT EXISTS commerce.spare (id int PRIMARY KEY, username text, password text)",
	"TRUNCATE commerce.users CASCADE",
	"VACUUM FULL commerce.users",
	"ALTER TABLE commerce.users REPLICA IDENTITY FULL",
	"ALTER TABLE commerce.users REPLICA IDENTITY DEFAULT",
	"ALTER TABLE commerce.users REPLICA IDENTITY NOTHING",
	"CREATE TABLE commerce.child () INHERITS (commerce.users)",
	"ALTER TABLE commerce.child NO INHERIT commerce.users",
	"ALTER TABLE commerce.child INHERIT commerce.users",
	"DROP TABLE commerce.child",
	"ALTER PUBLICATION firstclick_users SET (publish = 'insert')",
	"ALTER PUBLICATION firstclick_users DROP TABLE commerce.users",
	"ALTER PUBLICATION firstclick_users SET TABLE commerce.users",
	"DROP PUBLICATION firstclick_users",
	"BEGIN; UPDATE commerce.users SET username = 'before'; " +
		"ALTER TABLE commerce.users ALTER COLUMN username TYPE text USING username::text || '!'; " +
		"UPDATE commerce.users SET username = username || '?' WHERE id = 1; COMMIT",
	"BEGIN; ALTER TABLE commerce.users RENAME TO never; ROLLBACK",
}

// rows are changes of rows. The numbers are two ids and a new part of a name.
var rowChanges = []string{
	"INSERT INTO commerce.users (id, username, password) VALUES (%[1]d, 'name %[3]d', 'password %[3]d') ON CONFLICT " +
		"(id) DO UPDATE SET username = excluded.username",
	"INSERT INTO commerce.spare (id, username, password) VALUES (%[1]d, 'spare %[3]d', 'password %[3]d')",
	"INSERT INTO commerce.child (id, username, password) SELECT 10 + %[1]d, 'child %[3]d', '' WHERE NOT EXISTS " +
		"(SELECT FROM commerce.child WHERE id = 10 + %[1]d)",
	"UPDATE commerce.users SET username = 'updated %[3]d' WHERE id = %[1]d",
	"UPDATE commerce.users SET password = 'password %[3]d' WHERE id = %[1]d",
	"UPDATE commerce.users SET id = %[2]d WHERE id = %[1]d",
	"DELETE FROM commerce.users WHERE id = %[1]d",
}

// TestNamesUnderAnyDDL alters the table at random while rows change and names are read. Once the
// stream has caught up, a transaction would write the names that the table has. -rapid.checks draws
// more.
func TestNamesUnderAnyDDL(t *testing.T) {
	fewChecks(t, 12)
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 8})
	m.ctx = t.Context()        // as long as it takes
	m.tuning.watch = time.Hour // no polling
	m.tuning.backoffMax = 20 * time.Millisecond
	m.tuning.status = 10 * time.Millisecond // each requests the server's position
	m.tuning.silent = 3000
	// Each case makes the tables anew. The mirror keeps running.
	m.run()
	version := 0
	ids := []int32{1, 2, 3, 4, 5, 6, -1, 11, 12}
	rapid.Check(t, func(t *rapid.T) {
		// The statements before, for a failure.
		try := func(sql string) bool {
			err := m.tryAll(sql)
			var pgErr *pgconn.PgError
			if err != nil && !errors.As(err, &pgErr) {
				t.Fatalf("%s: %v", sql, err)
			}
			t.Logf("%s -- %v", sql, err)
			return err == nil
		}
		try("DROP TABLE IF EXISTS commerce.child, commerce.spare, commerce.users CASCADE")
		try("CREATE TABLE commerce.users (id int PRIMARY KEY, username varchar(255), password varchar(255))")
		if rapid.Bool().Draw(t, "full") {
			try("ALTER TABLE commerce.users REPLICA IDENTITY FULL")
		}
		try("INSERT INTO commerce.users SELECT i, 'user ' || i, 'password ' || i FROM generate_series(1, 4) i")
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "cached") {
				m.loaded(ids)
			}
			version++
			if rapid.Bool().Draw(t, "alter") {
				try(rapid.SampledFrom(alterations).Draw(t, "alteration"))
			} else {
				try(fmt.Sprintf(rapid.SampledFrom(rowChanges).Draw(t, "change"), rapid.SampledFrom(ids).Draw(t, "id"),
					rapid.SampledFrom(ids).Draw(t, "to"), version))
			}
			some := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, len(ids), rapid.ID[int32]).Draw(t, "ids")
			want := m.table()
			got := m.caughtUpNames(some...)
			for _, id := range some {
				if got[id] != want[id] {
					t.Fatalf("user %d: %q, the table has %q; all: %v", id, got[id], want[id], want)
				}
			}
		}
		if want, got := m.table(), m.caughtUpNames(ids...); !maps.Equal(got, within(want, ids)) {
			t.Fatalf("at the end: %v, the table has %v", got, want)
		}
	})
}

// fewChecks sets the number of checks unless the command line does.
func fewChecks(t *testing.T, n int) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	was := checks.Value.String()
	if was != checks.DefValue {
		return
	}
	t.Cleanup(func() { _ = checks.Value.Set(was) })
	if err := checks.Value.Set(fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
}

// loaded waits until a stream stands and has cached the users, unless none can stand.
func (m *mirror) loaded(ids []int32) {
	m.t.Helper()
	tries := m.Stats().Reconnects + 2
	m.until("a stream stands, or cannot", func() bool { s := m.Stats(); return s.Connected || s.Reconnects >= tries })
	m.caughtUpNames(ids...)
}

// caughtUpNames is written, after the stream, if one stands, has applied all that is committed now.
func (m *mirror) caughtUpNames(ids ...int32) map[int32]string {
	m.t.Helper()
	position := m.position()
	for {
		var before Stats
		m.until("the stream has caught up", func() bool {
			before = m.Stats()
			return !before.Connected || before.LastLSN >= position
		})
		names := m.written(ids...)
		// A stream that began meanwhile may be further behind.
		if m.Stats().Snapshots == before.Snapshots {
			return names
		}
	}
}

func within(names map[int32]string, ids []int32) map[int32]string {
	some := map[int32]string{}
	for _, id := range ids {
		if name, ok := names[id]; ok {
			some[id] = name
		}
	}
	return some
}

// tryAll runs statements and leaves no transaction open.
func (m *mirror) tryAll(sql string) error {
	conn, err := m.pool.Acquire(m.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	_, err = conn.Exec(m.ctx, sql, pgx.QueryExecModeSimpleProtocol)
	_, _ = conn.Exec(context.WithoutCancel(m.ctx), "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	return err
}
