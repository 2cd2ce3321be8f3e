package cdc

import (
	"maps"
	"strings"
	"testing"
	"time"

	"firstclick/internal/pgtest"
)

// written returns the names that a transaction would write now: those of the edition that it sees.
func (m *mirror) written(ids ...int32) map[int32]string {
	m.t.Helper()
	for {
		names := make(map[int32]string)
		edition, err := m.Names(m.ctx, ids, names)
		if err != nil {
			m.t.Fatal(err)
		}
		if edition == "" || edition == m.edition() {
			return names
		}
		m.Outdated(edition)
	}
}

// silentDDL changes names without a change of a row, so the stream stays silent.
var silentDDL = []struct {
	name, sql string
	whole     bool // Postgres refuses it while a column list is published
}{
	{"type with USING", "ALTER TABLE commerce.users ALTER COLUMN username TYPE text USING upper(username)", true},
	{"columns exchanged", `ALTER TABLE commerce.users RENAME COLUMN username TO other;
		ALTER TABLE commerce.users RENAME COLUMN password TO username;
			ALTER TABLE commerce.users RENAME COLUMN other TO password`, false},
	{"column replaced", `ALTER TABLE commerce.users DROP COLUMN username;
		ALTER TABLE commerce.users ADD COLUMN username text NOT NULL DEFAULT 'everybody'`, true},
	{"swapped by RENAME", `BEGIN; CREATE TABLE commerce.next (LIKE commerce.users INCLUDING ALL);
		INSERT INTO commerce.next VALUES (1, 'of the next table', 'x');
		ALTER TABLE commerce.users RENAME TO before; ALTER TABLE commerce.next RENAME TO users; COMMIT`, false},
	{"swapped by schema", `BEGIN; CREATE SCHEMA aside; ALTER TABLE commerce.users SET SCHEMA aside;
		CREATE TABLE commerce.users (LIKE aside.users INCLUDING ALL);
			INSERT INTO commerce.users VALUES (1, 'of the other table', 'x'); COMMIT`, false},
	{"child attached", "CREATE TABLE commerce.more () INHERITS (commerce.users); " +
		"INSERT INTO commerce.more VALUES (50, 'of a child', 'x')", false},
	{"made again", `DROP TABLE commerce.users; CREATE TABLE commerce.users (id int PRIMARY KEY, username text,
		password text);
		INSERT INTO commerce.users VALUES (1, 'of the new table', 'x')`, false},
	{"dropped", "DROP TABLE commerce.users", false},
	{"schema dropped", "DROP SCHEMA commerce CASCADE", false},
	{"column renamed", "ALTER TABLE commerce.users RENAME COLUMN username TO name", false},
	{"a view", "ALTER TABLE commerce.users RENAME TO people; " +
		"CREATE VIEW commerce.users AS SELECT id, upper(username) AS username FROM commerce.people", false},
	{"rewritten and emptied", `ALTER TABLE commerce.users ALTER COLUMN username TYPE varchar(100) USING left(username,
		3); TRUNCATE commerce.users;
		INSERT INTO commerce.users VALUES (2, 'two', 'x')`, true},
	{"unpublished", "ALTER PUBLICATION firstclick_users DROP TABLE commerce.users; " +
		"UPDATE commerce.users SET username = 'not streamed'", false},
	{"publication gone", "DROP PUBLICATION firstclick_users; UPDATE commerce.users SET username = 'not streamed'",
		false},
	{"published otherwise", "ALTER PUBLICATION firstclick_users SET (publish = 'insert'); " +
		"UPDATE commerce.users SET username = 'not streamed'", false},
}

// TestSilentDDL: every user is cached, the table is altered, and nothing polls. The very next names
// are the table's.
func TestSilentDDL(t *testing.T) {
	for _, c := range silentDDL {
		for _, identity := range []string{"DEFAULT", "FULL"} {
			if c.whole && identity != "FULL" {
				continue
			}
			t.Run(c.name+" "+identity, func(t *testing.T) {
				m := newMirror(t, pgtest.New(t), Config{CacheSize: 100})
				m.tuning.watch = time.Hour
				m.exec("ALTER TABLE commerce.users REPLICA IDENTITY " + identity)
				m.insert(1, 3)
				m.run().standing()
				m.until("the users are loaded", func() bool { return m.Stats().Entries == 3 })
				m.exec(c.sql)
				want := m.table()
				if got := m.written(1, 2, 3, 50, 51); !maps.Equal(got, want) {
					t.Fatalf("all ids: names are %v, want %v", got, want)
				}
				for id := int32(1); id <= 3; id++ { // each alone, so that no miss among them reveals the edition
					if got := m.written(id); got[id] != want[id] {
						t.Fatalf("user %d is %v, want %q", id, got, want[id])
					}
				}
			})
		}
	}
}

// TestTableGone: while there is no table nobody is known, which is logged once. When the table is
// back, so are the names and a stream.
func TestTableGone(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 100})
	m.insert(1, 3)
	m.run().standing()
	m.exec("DROP TABLE commerce.users")
	for range 3 {
		if got := m.written(1, 2); len(got) != 0 {
			t.Fatalf("names without a table: %v", got)
		}
	}
	if n := strings.Count(m.log.String(), "users cannot be read"); n != 1 {
		t.Fatalf("logged %d times:\n%s", n, m.log)
	}
	m.exec("CREATE TABLE commerce.users (id int PRIMARY KEY, username text, password text); " +
		"INSERT INTO commerce.users VALUES (1, 'back', 'x')")
	if got := m.written(1, 2); got[1] != "back" || len(got) != 1 {
		t.Fatalf("names of the new table: %v", got)
	}
	m.until("a stream stands again", func() bool { return m.Stats().Entries == 1 })
	m.wantCached(map[int32]string{1: "back"}, 1)
}
