package cdc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firstclick/internal/pgtest"
)

// TestStreamKeepsNames goes through every kind of change under every kind of identity.
func TestStreamKeepsNames(t *testing.T) {
	for _, identity := range []string{"DEFAULT", "FULL", "USING INDEX users_pkey"} {
		t.Run(identity, func(t *testing.T) {
			var mu sync.Mutex
			var changed []int32
			snapshots := make(chan struct{}, 10)
			m := newMirror(t, pgtest.New(t), Config{CacheSize: 100, OnChange: func(ids []int32) {
				mu.Lock()
				defer mu.Unlock()
				changed = append(changed, ids...)
			}, OnSnapshot: func() { snapshots <- struct{}{} }})
			// Postgres refuses this one later: "cannot alter type of a column used by a
			// publication".
			m.exec("ALTER TABLE commerce.users ALTER COLUMN username TYPE text, ALTER COLUMN username SET STORAGE " +
				"EXTERNAL")
			m.exec("ALTER TABLE commerce.users REPLICA IDENTITY " + identity)
			m.insert(1, 10)
			m.tuning.watch = time.Hour // a stream ends only when its edition is found outdated
			m.run()
			<-snapshots
			edition, editions := m.edition(), uint64(1)
			m.wantCached(map[int32]string{1: "user 1", 10: "user 10"}, 1, 10)
			m.want(map[int32]string{}, 11)

			step := func(want map[int32]string, announced []int32, sql ...string) {
				t.Helper()
				mu.Lock()
				changed = nil
				mu.Unlock()
				for _, s := range sql {
					m.exec(s)
				}
				m.caughtUp()
				ids := make([]int32, 0, len(want))
				for id := range want {
					ids = append(ids, id)
				}
				m.wantCached(want, ids...)
				table := m.table()
				var all []int32
				for id := int32(-3); id < 40; id++ {
					all = append(all, id)
				}
				if got := m.names(all...); !maps.Equal(got, table) {
					t.Fatalf("after %q names are %v, the table is %v", sql, got, table)
				}
				if now := m.edition(); now != edition { // the query for unknown users found it
					edition = now
					editions++
					<-snapshots
				}
				mu.Lock()
				defer mu.Unlock()
				if slices.Sort(changed); !slices.Equal(changed, announced) {
					t.Fatalf("after %q announced %v, want %v", sql, changed, announced)
				}
			}
			step(map[int32]string{11: "new"}, []int32{11}, "INSERT INTO commerce.users VALUES (11, 'new', 'secret')")
			step(map[int32]string{1: "renamed"}, []int32{1},
				"UPDATE commerce.users SET username = 'renamed' WHERE id = 1")
			step(map[int32]string{1: "renamed"}, []int32{1},
				"UPDATE commerce.users SET password = 'other' WHERE id = 1")
			step(map[int32]string{}, nil, "DELETE FROM commerce.users WHERE id = 2")
			step(map[int32]string{20: "user 3"}, []int32{20}, "UPDATE commerce.users SET id = 20 WHERE id = 3")
			step(map[int32]string{-2: ""}, []int32{-2}, "UPDATE commerce.users SET id = -2, username = '' WHERE id = 4")
			step(map[int32]string{5: "b"}, []int32{5, 5}, "BEGIN; UPDATE commerce.users SET username = 'a' WHERE id "+
				"= 5; SAVEPOINT s; UPDATE commerce.users SET username = 'b' WHERE id = 5; RELEASE s; COMMIT")
			step(map[int32]string{6: "user 6"}, nil,
				"BEGIN; UPDATE commerce.users SET username = 'never' WHERE id = 6; ROLLBACK")
			step(map[int32]string{6: "added"}, []int32{6},
				"ALTER TABLE commerce.users ADD COLUMN first text DEFAULT 'x', ADD COLUMN second int",
				"UPDATE commerce.users SET username = 'added' WHERE id = 6")
			step(map[int32]string{6: "dropped"}, []int32{6}, "ALTER TABLE commerce.users DROP COLUMN first",
				"UPDATE commerce.users SET username = 'dropped' WHERE id = 6")
			step(map[int32]string{7: "other columns"}, []int32{7},
				"ALTER TABLE commerce.users RENAME COLUMN second TO third",
				"UPDATE commerce.users SET username = 'other columns' WHERE id = 7")
			big := strings.Repeat("long ", 5000)
			step(map[int32]string{8: big}, []int32{8},
				"UPDATE commerce.users SET username = repeat('long ', 5000) WHERE id = 8")
			step(map[int32]string{8: big}, []int32{8}, "UPDATE commerce.users SET password = 'toast' WHERE id = 8")
			step(map[int32]string{28: big}, []int32{28}, "UPDATE commerce.users SET id = 28 WHERE id = 8")
			step(map[int32]string{}, nil, "SELECT pg_logical_emit_message(true, 'x', 'y')")
			step(map[int32]string{}, nil, "TRUNCATE commerce.users")
			step(map[int32]string{1: "again"}, []int32{1, 9}, "BEGIN; INSERT INTO commerce.users VALUES (9, 'gone', "+
				"''); TRUNCATE commerce.users; INSERT INTO commerce.users VALUES (1, 'again', ''); COMMIT")
			if identity == "FULL" { // without a column list Postgres lets the type change
				step(map[int32]string{2: "typed"}, []int32{2},
					"ALTER TABLE commerce.users ALTER COLUMN username TYPE varchar(40), ALTER COLUMN id TYPE bigint",
					"INSERT INTO commerce.users VALUES (2, 'typed', ''), (5000000000, 'beyond', '')")
				step(map[int32]string{3: "padded  "}, []int32{3},
					"ALTER TABLE commerce.users ALTER COLUMN username TYPE char(8)", "TRUNCATE commerce.users",
					"INSERT INTO commerce.users VALUES (3, 'padded', '')")
			}
			if s := m.Stats(); s.Reconnects != editions-1 || s.Snapshots != editions || editions < 4 {
				t.Fatalf("not a snapshot for each of %d editions: %+v\n%s", editions, s, m.log)
			}
		})
	}
}

// TestUncachedToast: the id of an uncached user changes, and its long name is not sent.
func TestUncachedToast(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 1})
	m.exec("ALTER TABLE commerce.users ALTER COLUMN username TYPE text, ALTER COLUMN username SET STORAGE EXTERNAL")
	m.exec("INSERT INTO commerce.users VALUES (1, repeat('a', 9000), ''), (2, 'b', '')")
	m.run().standing()
	m.exec("UPDATE commerce.users SET id = 3 WHERE id = 1")
	m.caughtUp()
	m.want(map[int32]string{2: "b", 3: strings.Repeat("a", 9000)}, 1, 2, 3)
}

// TestSmallCache: with a cache of 1,000, Names answers for 100,000 users with one query a batch.
func TestSmallCache(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 1000})
	m.insert(1, 100_000)
	m.run().standing()
	for first := int32(1); first <= 100_000; first += 500 {
		ids := make([]int32, 500)
		for i := range ids {
			ids[i] = (first+int32(i))*7919%100_000 + 1
		}
		before := m.Stats()
		names := m.names(ids...)
		for _, id := range ids {
			if want := fmt.Sprintf("user %d", id); names[id] != want {
				t.Fatalf("user %d is %q", id, names[id])
			}
		}
		after := m.Stats()
		if n := after.ReadThroughQueries - before.ReadThroughQueries; n > 1 {
			t.Fatalf("%d queries for one batch", n)
		}
		if after.Entries > 1000 {
			t.Fatalf("%d users in a cache of 1000", after.Entries)
		}
		before = after
		m.names(ids...)
		if after = m.Stats(); after.ReadThroughQueries != before.ReadThroughQueries {
			t.Fatalf("a batch just read is read again: %+v", after)
		}
	}
	if s := m.Stats(); s.Evictions == 0 || s.RefusedFills != 0 {
		t.Fatalf("stats %+v", s)
	}
}

// TestBulkLoad: a transaction that inserts many users does not evict those that were read.
func TestBulkLoad(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 640})
	m.insert(1, 640)
	m.run().standing()
	m.until("the users are loaded", func() bool { return m.Stats().Entries == 640 })
	m.insert(1001, 50_000)
	m.caughtUp()
	ids := make([]int32, 0, 640)
	for id := int32(1); id <= 640; id++ {
		ids = append(ids, id)
	}
	before := m.Stats()
	if n := len(m.names(ids...)); n != 640 {
		t.Fatalf("%d names", n)
	}
	if after := m.Stats(); after.Misses-before.Misses > 10 {
		t.Fatalf("a bulk load pushed out %d users", after.Misses-before.Misses)
	}
}

// TestSchemaChanges: a change that makes the stream useless ends it. The mirror mends it or says
// what to do.
func TestSchemaChanges(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 10})
	m.insert(1, 5)
	m.run().standing()

	// Another table takes the name. The old stream would stay silent for ever.
	m.exec("BEGIN; ALTER TABLE commerce.users RENAME TO old_users; " +
		"CREATE TABLE commerce.users (LIKE commerce.old_users INCLUDING ALL); " +
		"INSERT INTO commerce.users VALUES (1, 'of the new table', ''); COMMIT")
	m.until("the new table is mirrored", func() bool { return m.Stats().Snapshots == 2 && m.Stats().Entries == 1 })
	m.wantCached(map[int32]string{1: "of the new table"}, 1)

	// Somebody takes the table out of the publication.
	m.exec("ALTER PUBLICATION firstclick_users DROP TABLE commerce.users")
	m.until("it is published again", func() bool { return m.Stats().Snapshots == 3 })
	m.standing()

	// Its identity grows. The column list would make the application's updates fail.
	m.exec("ALTER TABLE commerce.users REPLICA IDENTITY FULL")
	m.until("the list is gone", func() bool { return m.Stats().Snapshots == 4 })
	m.standing()
	m.exec("UPDATE commerce.users SET username = 'under full' WHERE id = 1")
	m.caughtUp()
	m.want(map[int32]string{1: "under full"}, 1)

	// It has no identity. It is not published, so that the application's updates go on. Logged
	// once.
	m.exec("ALTER TABLE commerce.users REPLICA IDENTITY NOTHING")
	m.until("the problem is known", func() bool {
		s := m.Stats()
		return !s.Connected && strings.Contains(s.LastError, "has no replica identity") && s.Reconnects > 5
	})
	m.exec("UPDATE commerce.users SET username = 'unpublished' WHERE id = 1")
	m.want(map[int32]string{1: "unpublished"}, 1)
	const warning = `level=WARN msg="users mirror has no stream: ` +
		`names are read from the table until it has one again" ` +
		`error="commerce.users has no replica identity`
	if n := strings.Count(m.log.String(), warning); n > 2 {
		t.Fatalf("logged %d times:\n%s", n, m.log)
	}
	m.exec("ALTER TABLE commerce.users REPLICA IDENTITY DEFAULT")
	m.standing()
	m.exec("UPDATE commerce.users SET username = 'back' WHERE id = 1")
	m.caughtUp()
	m.want(map[int32]string{1: "back"}, 1)
}

func TestNewRefuses(t *testing.T) {
	m := newMirror(t, pgtest.Empty(t), Config{})
	if _, err := New(Config{}, nil); err == nil {
		t.Error("no pool was accepted")
	}
	if _, err := New(Config{CacheSize: -1}, m.pool); err == nil {
		t.Error("a negative cache size was accepted")
	}
	if _, err := New(Config{Database: "postgres://%zz"}, m.pool); err == nil {
		t.Error("a broken address was accepted")
	}
	if s := m.Stats(); s.Capacity != DefaultCacheSize || s.Connected {
		t.Errorf("stats %+v", s)
	}
}
