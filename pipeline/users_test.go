package pipeline_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// With a cache of 1,000 for 100,000 users every row has its name, at one query a transaction at
// most.
func TestCacheSmallerThanTheUsers(t *testing.T) {
	const users, n = 100_000, 20_000
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, users)
	base := time.Now().Add(-10 * time.Minute)
	var all [][]byte
	for i := range n {
		user := i * 7919 % users
		all = append(all, []byte(checkout(fmt.Sprintf("k%d-%d", user, i), user, "p", "1",
			stamp(base, float64(i)/1000))))
	}
	spread(t, brokers, "checkouts", 2, all)
	cfg := testConfig(t, brokers, dsn)
	cfg.UsersCache = 1000
	st := drain(t, cfg)
	if got := countRows(t, conn, `'user-' || substring(checkout_id from 'k([0-9]+)-') = user_name`); got != n {
		t.Errorf("%d of %d rows have their user's name", got, n)
	}
	if st.Users.ReadThroughQueries == 0 || st.Users.ReadThroughQueries > uint64(st.Transactions) {
		t.Errorf("%d read-through queries for %d transactions", st.Users.ReadThroughQueries, st.Transactions)
	}
	if st.Users.Entries > cfg.UsersCache {
		t.Errorf("%d users cached; %d is the most", st.Users.Entries, cfg.UsersCache)
	}
}

// A run until caught up fills in the names of users who came after the run that wrote their rows.
// It does so also when there is nothing to read and it ends before the mirror stands: here an open
// transaction delays the mirror.
func TestRunsUntilCaughtUpFillInNames(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 1)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 7, "p", "1", stamp(time.Now(), 0)))...)
	drain(t, testConfig(t, brokers, dsn))
	const named = `SELECT count(*) FROM commerce.attributed_checkouts WHERE user_name IS NOT NULL`
	if got := count(t, conn, named); got != 0 {
		t.Fatalf("%d rows have a name before there is one", got)
	}
	exec(t, conn, `INSERT INTO commerce.users VALUES (7, 'late', 'x')`)
	other, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	exec(t, other, `BEGIN`)
	exec(t, other, `SELECT pg_current_xact_id()`)
	drain(t, testConfig(t, brokers, dsn))
	if got := count(t, conn, named); got != 1 {
		t.Errorf("%d of 1 row has its name", got)
	}
	if got := count(t, conn, `SELECT count(*) FROM firstclick.unknown_users`); got != 0 {
		t.Errorf("%d notes are left", got)
	}
}

// town is a table of users that changes while checkouts flow.
type town struct {
	t       *testing.T
	brokers []string
	conn    *pgx.Conn
	p       *working
	names   map[int]string // by user: the name; absent: there is no such user
	round   int
	owed    map[string]int // checkouts of users who did not exist
}

// change runs a statement and waits until the mirror has applied everything committed so far.
func (w *town) change(sql string) {
	w.t.Helper()
	exec(w.t, w.conn, sql)
	lsn := count(w.t, w.conn, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`)
	// Another change, so that the stream passes the first one.
	exec(w.t, w.conn, `INSERT INTO commerce.users VALUES (1000, 'nobody', 'x') ON CONFLICT (id) DO UPDATE
		SET username = excluded.username`)
	eventually(w.t, "the mirror has applied: "+sql, func() bool { return w.p.Stats().Users.LastLSN >= uint64(lsn) })
}

// buy produces a checkout of each user and checks the rows: each has the name that the user has
// now, or none.
func (w *town) buy(users ...int) {
	w.t.Helper()
	w.round++
	var ids []string
	var vs []string
	for _, u := range users {
		id := fmt.Sprintf("k%d-%d", w.round, u)
		ids = append(ids, id)
		vs = append(vs, checkout(id, u, "p", "1", stamp(time.Now(), 0)))
	}
	kafkatest.Produce(w.t, w.brokers, "checkouts", 0, values(vs...)...)
	const there = `SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = ANY($1)`
	eventually(w.t, "the rows", func() bool { return count(w.t, w.conn, there, ids) == int64(len(ids)) })
	for i, u := range users {
		name, known := w.names[u]
		if got := w.nameOf(ids[i]); got != name {
			w.t.Errorf("round %d: the row of user %d has the name %q, want %q", w.round, u, got, name)
		}
		if !known {
			w.owed[ids[i]] = u
		}
	}
}

func (w *town) nameOf(checkout string) (name string) {
	w.t.Helper()
	err := w.conn.QueryRow(w.t.Context(), `SELECT coalesce(user_name, '') FROM commerce.attributed_checkouts
		WHERE checkout_id = $1`, checkout).Scan(&name)
	if err != nil {
		w.t.Fatal(err)
	}
	return name
}

// filled waits until the rows of users who exist now have their names. Those of the others have
// none.
func (w *town) filled() {
	w.t.Helper()
	for id, u := range w.owed {
		name, known := w.names[u]
		if known {
			eventually(w.t, fmt.Sprintf("the name of user %d in row %s", u, id),
				func() bool { return w.nameOf(id) != "" })
			delete(w.owed, id)
		}
		if got := w.nameOf(id); got != name {
			w.t.Errorf("row %s of user %d has the name %q, want %q", id, u, got, name)
		}
	}
}

// Users are inserted, renamed, deleted, given other ids and truncated while checkouts flow.
func TestUsersChangeWhileCheckoutsFlow(t *testing.T) {
	for _, cache := range []int{0, 5} { // 0: the default, which holds all of them
		t.Run(fmt.Sprintf("cache of %d", cache), func(t *testing.T) { usersChange(t, cache) })
	}
}

func usersChange(t *testing.T, cache int) {
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 0)
	cfg := testConfig(t, brokers, dsn)
	cfg.UsersCache = cache
	w := &town{t: t, brokers: brokers, conn: conn, p: begin(t, cfg), names: map[int]string{}, owed: map[string]int{}}
	eventually(t, "the mirror streams", func() bool { return w.p.Stats().Users.Connected })
	everybody := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 101, 102}
	all := func(name string, from, to int) {
		for u := from; u <= to; u++ {
			w.names[u] = fmt.Sprintf("%s%d", name, u)
		}
	}
	flow := startFlow(t, brokers, dsn)

	w.buy(everybody...) // nobody is known
	w.change(`INSERT INTO commerce.users SELECT i, 'first' || i, 'secret' FROM generate_series(1, 12) i`)
	all("first", 1, 12)
	w.filled()
	w.buy(everybody...)
	w.change(`UPDATE commerce.users SET username = 'second' || id WHERE id <= 12`)
	all("second", 1, 12)
	w.buy(everybody...)
	w.change(`DELETE FROM commerce.users WHERE id <= 3`)
	delete(w.names, 1)
	delete(w.names, 2)
	delete(w.names, 3)
	w.buy(everybody...)
	w.change(`UPDATE commerce.users SET id = id + 90 WHERE id IN (11, 12)`)
	w.names[101], w.names[102] = w.names[11], w.names[12]
	delete(w.names, 11)
	delete(w.names, 12)
	w.filled()
	w.buy(everybody...)
	w.change(`INSERT INTO commerce.users VALUES (1, 'back1', 'secret'), (11, 'other11', 'secret')`)
	w.names[1], w.names[11] = "back1", "other11"
	w.filled()
	w.buy(everybody...)
	flow.end() // the flow's user goes with the others
	eventually(t, "the rows of the flow", func() bool {
		return countRows(t, conn, `checkout_id LIKE 'flow-%'`) == int64(len(flow.bought))
	})
	w.change(`TRUNCATE commerce.users`)
	clear(w.names)
	w.buy(everybody...)
	w.change(`INSERT INTO commerce.users SELECT i, 'third' || i, 'secret' FROM generate_series(1, 102) i`)
	all("third", 1, 102)
	w.filled()
	w.buy(everybody...)
	if len(w.owed) != 0 {
		t.Errorf("%d rows have no name", len(w.owed))
	}
	eventually(t, "the end of both topics", w.p.caughtUp)
	flow.check(conn)
	if st := w.p.Stats(); st.Users.ReadThroughQueries > uint64(st.Transactions) {
		t.Errorf("%d read-through queries for %d transactions", st.Users.ReadThroughQueries, st.Transactions)
	}
}

// flow renames one user over and over and buys as that user, without waiting.
type flow struct {
	t      *testing.T
	stop   context.CancelFunc
	wait   sync.WaitGroup
	named  []time.Time // when the user's n-th name was being given
	bought []time.Time // when the n-th checkout was being produced
}

const flowUser = 50

func startFlow(t *testing.T, brokers []string, dsn string) *flow {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &flow{t: t, stop: stop}
	conn := connect(t, dsn)
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("checkouts"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	f.named = append(f.named, time.Now())
	exec(t, conn, `INSERT INTO commerce.users VALUES ($1, 'flow0', 'secret')`, flowUser)
	f.wait.Go(func() {
		ticker := time.NewTicker(3 * time.Millisecond)
		defer ticker.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			f.named = append(f.named, time.Now())
			if _, err := conn.Exec(context.WithoutCancel(ctx), `UPDATE commerce.users SET username = $2
				WHERE id = $1`, flowUser, fmt.Sprintf("flow%d", n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	f.wait.Go(func() {
		defer cl.Close()
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			f.bought = append(f.bought, time.Now())
			r := &kgo.Record{Partition: 1, Value: []byte(checkout(fmt.Sprintf("flow-%d", n), flowUser, "p", "1",
				stamp(time.Now(), 0)))}
			if err := cl.ProduceSync(context.WithoutCancel(ctx), r).FirstErr(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	t.Cleanup(f.end)
	return f
}

func (f *flow) end() {
	f.stop()
	f.wait.Wait()
}

// mirrorLag is how far the mirror may be behind the table on a busy machine.
const mirrorLag = 10 * time.Second

// check checks every row of the flow: its name is one that the user had between shortly before the
// checkout and now. It may be older than the name of the row before: a name that was read through
// is ahead of the stream.
func (f *flow) check(conn *pgx.Conn) {
	f.t.Helper()
	rows, err := conn.Query(f.t.Context(), `SELECT substring(checkout_id from 6)::int AS n,
		substring(user_name from 5)::int AS name
		FROM commerce.attributed_checkouts WHERE checkout_id LIKE 'flow-%' AND user_name LIKE 'flow%' ORDER BY 1`)
	if err != nil {
		f.t.Fatal(err)
	}
	var n, name, seen int
	_, err = pgx.ForEachRow(rows, []any{&n, &name}, func() error {
		seen++
		if name+1 < len(f.named) && f.bought[n].Sub(f.named[name+1]) > mirrorLag {
			f.t.Errorf("checkout %d has name %d, which was gone %v before", n, name, f.bought[n].Sub(f.named[name+1]))
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if seen != len(f.bought) || seen < 20 {
		f.t.Errorf("%d of %d rows have a name of their user", seen, len(f.bought))
	}
}
