package cdc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"firstclick/internal/pgtest"
)

// TestFillOvertaken: a read-through has the old name when the stream applies the new one.
func TestFillOvertaken(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 1})
	m.insert(1, 2)
	answered, proceed := m.holdFirst()
	m.run().standing()
	m.until("a user is loaded", func() bool { return m.Stats().Entries == 1 }) // 2, the newest
	names := make(map[int32]string)
	done := make(chan error)
	go func() { _, err := m.Names(m.ctx, []int32{1}, names); done <- err }()
	<-answered
	m.exec("UPDATE commerce.users SET username = 'overtaken' WHERE id = 1")
	m.caughtUp()
	close(proceed)
	if err := <-done; err != nil || names[1] != "user 1" {
		t.Fatalf("the name read was %q (%v)", names[1], err)
	}
	if n := m.Stats().RefusedFills; n != 1 {
		t.Fatalf("%d fills refused", n)
	}
	m.want(map[int32]string{1: "overtaken"}, 1)
	m.wantCached(map[int32]string{1: "overtaken"}, 1)
}

// holdFirst stops the first read-through between its answer and its fill. It closes answered then,
// and waits for proceed.
func (m *mirror) holdFirst() (answered <-chan struct{}, proceed chan<- struct{}) {
	a, p := make(chan struct{}), make(chan struct{})
	var held atomic.Bool
	m.hooks.answered = func() {
		if held.CompareAndSwap(false, true) {
			close(a)
			<-p
		}
	}
	return a, p
}

// TestRingPassed: during a read-through more changes come than the ring holds. The name is used,
// but not cached.
func TestRingPassed(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 10})
	m.tuning.ringSize = 16
	m.insert(1, 100)
	answered, proceed := m.holdFirst()
	m.run().standing()
	names := make(map[int32]string)
	done := make(chan error)
	go func() { _, err := m.Names(m.ctx, []int32{1}, names); done <- err }()
	<-answered
	m.exec("UPDATE commerce.users SET username = 'new' WHERE id = 1")
	m.exec("UPDATE commerce.users SET username = 'new' WHERE id > 50")
	m.caughtUp()
	close(proceed)
	if err := <-done; err != nil || names[1] != "user 1" {
		t.Fatalf("the name read was %q (%v)", names[1], err)
	}
	m.want(map[int32]string{1: "new"}, 1)
	m.wantCached(map[int32]string{1: "new"}, 1)
}

// TestCommitBeforeItIsVisible: a commit waits for a synchronous standby that does not exist. Its
// WAL is written and streamed, but no snapshot sees it. A read-through gets the old name after the
// stream has brought the new one.
func TestCommitBeforeItIsVisible(t *testing.T) {
	server := pgtest.StartTemporary(t)
	m := newMirror(t, server.DSN("postgres"), Config{CacheSize: 1})
	usersTableIn(m)
	m.insert(1, 2)
	m.run().standing()
	m.until("a user is loaded", func() bool { return m.Stats().Entries == 1 })

	released := m.limbo("UPDATE commerce.users SET username = 'in limbo' WHERE id = 1")
	m.until("the stream has it", func() bool { return m.Stats().AppliedChanges == 1 })
	m.want(map[int32]string{1: "user 1"}, 1)
	if n := m.Stats().RefusedFills; n != 1 {
		t.Fatalf("the stale name was cached: %d fills refused", n)
	}
	released()
	m.want(map[int32]string{1: "in limbo"}, 1)
	m.wantCached(map[int32]string{1: "in limbo"}, 1)
}

// TestLimboBeforeSlot: the same, but the slot is created while the commit waits. The commit is
// before the slot's consistent point, so it is not streamed. The exported snapshot sees it, a
// read-through does not.
func TestLimboBeforeSlot(t *testing.T) {
	server := pgtest.StartTemporary(t)
	m := newMirror(t, server.DSN("postgres"), Config{CacheSize: 1})
	usersTableIn(m)
	m.insert(1, 2)
	// The slot waits for the transactions that run when it begins, so this one would have to begin
	// and commit while the slot is built. A test cannot schedule that. It makes an exported
	// snapshot that sees the transaction.
	m.run().standing()
	m.until("a user is loaded", func() bool { return m.Stats().Entries == 1 })
	released := m.limbo("UPDATE commerce.users SET username = 'in limbo' WHERE id = 1")
	m.until("the stream has it", func() bool { return m.Stats().AppliedChanges == 1 })
	m.mu.Lock()
	exported := *m.cache.exported
	exported.xmin, exported.xmax, exported.xip = m.cache.xid+1, m.cache.xid+1, nil
	m.cache.exported, m.cache.changes = &exported, newChanges(16)
	m.mu.Unlock()
	m.want(map[int32]string{1: "user 1"}, 1)
	if n := m.Stats().RefusedFills; n != 1 {
		t.Fatalf("the stale name was cached: %d fills refused", n)
	}
	released()
	m.want(map[int32]string{1: "in limbo"}, 1)
	m.wantCached(map[int32]string{1: "in limbo"}, 1)
}

// usersTableIn makes commerce.users in the test's own server.
func usersTableIn(m *mirror) {
	m.t.Helper()
	m.exec("CREATE SCHEMA commerce; CREATE TABLE commerce.users (id int PRIMARY KEY, username varchar(255) NOT " +
		"NULL, password varchar(255) NOT NULL)")
}

// limbo runs sql in a transaction whose commit is written but not visible until released is called.
func (m *mirror) limbo(sql string) (released func()) {
	m.t.Helper()
	setting := func(value string) {
		m.exec("ALTER SYSTEM SET synchronous_standby_names = '" + value + "'")
		m.exec("SELECT pg_reload_conf()")
		m.until("the setting holds", func() bool {
			var is string
			if err := m.pool.QueryRow(m.ctx,
				"SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'").Scan(&is); err != nil {
				m.t.Fatal(err)
			}
			return is == value
		})
	}
	setting("nobody")
	conn, err := pgx.Connect(m.ctx, m.dsn)
	if err != nil {
		m.t.Fatal(err)
	}
	// The checkpointer makes commits wait. It may not have read the setting yet, which it does
	// between two checkpoints.
	for range 2 {
		if _, err := conn.Exec(m.ctx, "CHECKPOINT"); err != nil {
			m.t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(m.ctx, "SET synchronous_commit = on; "+sql)
		done <- err
	}()
	m.until("the commit waits", func() bool {
		var waits bool
		if err := m.pool.QueryRow(m.ctx,
			"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')").Scan(&waits); err != nil {
			m.t.Fatal(err)
		}
		return waits
	})
	return func() {
		m.t.Helper()
		setting("")
		if err := <-done; err != nil {
			m.t.Fatal(err)
		}
		if err := conn.Close(context.Background()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestReconnect: the walsender is killed and users are renamed, while a read-through from before is
// still under way.
func TestReconnect(t *testing.T) {
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 5})
	m.insert(1, 10)
	answered, proceed := m.holdFirst()
	m.run().standing()
	m.until("users are loaded", func() bool { return m.Stats().Entries == 5 })
	names := make(map[int32]string)
	done := make(chan error)
	go func() { _, err := m.Names(m.ctx, []int32{1}, names); done <- err }()
	<-answered

	// One transaction, because the next slot waits for its end. A change that the next stream
	// brings during the preload makes the cache refuse what the preload read.
	m.exec("BEGIN; UPDATE commerce.users SET username = 'renamed ' || id; " +
		"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database(); COMMIT")
	m.until("the next stream stands", func() bool { s := m.Stats(); return s.Snapshots == 2 && s.Entries == 5 })
	close(proceed)
	if err := <-done; err != nil || names[1] != "user 1" {
		t.Fatalf("the name read was %q (%v)", names[1], err)
	}
	all := make(map[int32]string)
	for id := int32(1); id <= 10; id++ {
		all[id] = fmt.Sprintf("renamed %d", id)
		m.want(map[int32]string{id: all[id]}, id)
	}
	if s := m.Stats(); s.Reconnects == 0 || !strings.Contains(s.LastError, "57P01") {
		t.Fatalf("stats %+v", s)
	}
}

// TestServerStops: the server is away for a while. When it is back, names are right again.
func TestServerStops(t *testing.T) {
	server := pgtest.StartTemporary(t)
	m := newMirror(t, server.DSN("postgres"), Config{CacheSize: 5})
	usersTableIn(m)
	m.insert(1, 10)
	m.run().standing()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	m.until("the loss is known", func() bool { return !m.Stats().Connected })
	if _, err := m.Names(m.ctx, []int32{1}, map[int32]string{}); err == nil {
		t.Fatal("a name was given without a server")
	}
	if err := server.Restart(m.ctx); err != nil {
		t.Fatal(err)
	}
	m.until("the next stream stands", func() bool { return m.Stats().Snapshots == 2 })
	m.exec("UPDATE commerce.users SET username = 'after' WHERE id = 10")
	m.caughtUp()
	m.want(map[int32]string{1: "user 1", 10: "after"}, 1, 10)
}

// TestAnyInterleaving: concurrent writers change everything, readers call Names, streams are lost.
// At the end every name is the table's.
func TestAnyInterleaving(t *testing.T) {
	for _, size := range []int{7, 60, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m := newMirror(t, pgtest.New(t), Config{CacheSize: size})
			m.tuning.ringSize = 64
			m.insert(1, 200)
			m.run().standing()
			var writers, readers sync.WaitGroup
			lost, stop := make(chan struct{}), make(chan struct{})
			for w := range uint64(4) {
				writers.Go(func() { m.write(rand.New(rand.NewPCG(w, uint64(size))), lost) })
				readers.Go(func() { m.ask(rand.New(rand.NewPCG(w, 99)), stop) })
			}
			for range 3 {
				before := m.Stats().AppliedTransactions
				m.until("the stream goes on", func() bool { return m.Stats().AppliedTransactions > before+20 })
				m.exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = " +
					"current_database()")
			}
			close(lost)
			writers.Wait()
			close(stop)
			readers.Wait()
			m.caughtUp()
			table := m.table()
			for range 2 { // the second time from the cache
				for id := int32(1); id <= 250; id++ {
					if got := m.names(id)[id]; got != table[id] {
						t.Fatalf("user %d is %q, in the table %q; %+v", id, got, table[id], m.Stats())
					}
				}
			}
			t.Logf("%+v", m.Stats())
		})
	}
}

// write makes random transactions, at least 400, and more until the last stream is lost. What is
// committed without a stream is never streamed, which may be most of it on a busy machine. Refused
// transactions (a key that exists, a deadlock) count too.
func (m *mirror) write(random *rand.Rand, lost <-chan struct{}) {
	for n := 0; ; n++ {
		if n >= 400 {
			select {
			case <-lost:
				return
			default:
			}
		}
		id, to := random.IntN(250)+1, random.IntN(250)+1
		sql := []string{
			fmt.Sprintf("UPDATE commerce.users SET username = 'v%d' WHERE id = %d", n, id),
			fmt.Sprintf("UPDATE commerce.users SET username = username || '.' WHERE id BETWEEN %d AND %d", id, id+5),
			fmt.Sprintf("INSERT INTO commerce.users VALUES (%d, 'i%d', '') ON CONFLICT (id) DO UPDATE SET username "+
				"= excluded.username", id, n),
			fmt.Sprintf("DELETE FROM commerce.users WHERE id = %d", id),
			fmt.Sprintf("UPDATE commerce.users SET id = %d WHERE id = %d", to, id),
			fmt.Sprintf("BEGIN; UPDATE commerce.users SET username = 'held' WHERE id = %d; SELECT pg_sleep(0.002); "+
				"COMMIT", id),
			fmt.Sprintf("BEGIN; DELETE FROM commerce.users WHERE id = %d; "+
				"INSERT INTO commerce.users VALUES (%[1]d, 'r%d', ''); COMMIT", id, n),
		}[random.IntN(7)]
		if random.IntN(200) == 0 {
			sql = "BEGIN; TRUNCATE commerce.users; INSERT INTO commerce.users SELECT i, 't' || i, '' FROM " +
				"generate_series(1, 200) i; COMMIT"
		}
		if _, err := m.pool.Exec(m.ctx, sql); err != nil && m.ctx.Err() != nil {
			m.t.Errorf("write: %v", err)
			return
		}
	}
}

func (m *mirror) ask(random *rand.Rand, stop <-chan struct{}) {
	names := make(map[int32]string)
	for {
		select {
		case <-stop:
			return
		default:
		}
		ids := make([]int32, random.IntN(8)+1)
		for i := range ids {
			ids[i] = int32(random.IntN(250) + 1)
		}
		clear(names)
		if _, err := m.Names(m.ctx, ids, names); err != nil {
			m.t.Errorf("names: %v", err)
			return
		}
	}
}
