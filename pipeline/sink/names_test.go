package sink

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"firstclick/cdc"
	"firstclick/join/event"
)

// rename gives a user another name, as the mirror has it from then on.
func (f *fakeNames) rename(user int32, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[user] = name
}

// A try that fails is followed by one with the names of its own time, however long Postgres was
// away.
func TestNamesAreThoseOfTheTryThatLands(t *testing.T) {
	for name, match := range map[string]func(message) bool{"before the rows": isMove, "within the rows": isCopyData,
		"at COMMIT": isCommit} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			p, dsn := newProxy(t, b.dsn)
			s := b.open(dsn, "firstclick-p", b.names)
			batch := b.claim(s, 0)
			batch.Rows = []event.Released{row(0, checkout("a"))}
			p.once(cut, match, func() { b.names.rename(1, "renamed") })
			b.commit(s, batch)
			b.expect("renamed", `SELECT user_name FROM commerce.attributed_checkouts`)
		})
	}
}

// leapingClock is the system's, some time ahead.
type leapingClock struct {
	systemClock
	ahead *atomic.Int64
}

func (c leapingClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// A transaction that waited for a lock before its rows could be written asks for the names again.
func TestNamesAfterALock(t *testing.T) {
	b := newBench(t)
	var ahead atomic.Int64
	s, err := New(Config{Database: b.dsn, Application: "firstclick-b",
		Logger: slog.New(slog.NewTextHandler(b.log, nil)), Clock: leapingClock{ahead: &ahead}}, b.names)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	batch := b.claim(s, 0)
	batch.Rows = []event.Released{row(0, checkout("a"))}
	lock := b.held(`SELECT FROM firstclick.offsets FOR UPDATE`)
	ended := aside(t.Context(), s, batch)
	b.awaitLocked(1, "firstclick-b")
	b.names.rename(1, "renamed")
	ahead.Store(int64(5 * time.Minute))
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if end := <-ended; end.err != nil {
		t.Fatal(end.err)
	}
	b.expect("renamed", `SELECT user_name FROM commerce.attributed_checkouts`)
}

// strideClock moves on by so much with each look at it: Postgres seems slow at every try.
type strideClock struct {
	systemClock
	looks *atomic.Int64
	by    time.Duration
}

func (c strideClock) Now() time.Time {
	return time.Unix(0, 0).Add(time.Duration(c.looks.Add(1)) * c.by)
}

// Where every try is slow, rows are written all the same.
func TestNamesWherePostgresIsSlow(t *testing.T) {
	b := newBench(t)
	s, err := New(Config{Database: b.dsn, Application: "firstclick-b",
		Logger: slog.New(slog.NewTextHandler(b.log, nil)), Clock: strideClock{looks: new(atomic.Int64),
			by: 10 * time.Second}}, b.names)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	batch := b.claim(s, 0)
	batch.Rows = []event.Released{row(0, checkout("a"))}
	if _, err := s.Commit(t.Context(), []*Batch{batch}); err != nil {
		t.Fatal(err)
	}
	b.expect("ann", `SELECT user_name FROM commerce.attributed_checkouts`)
}

// The names are of a table that was altered since: nothing is written with them, and the source is
// told.
func TestNamesOfAnAlteredTable(t *testing.T) {
	b := newBench(t)
	edition := func() (is string) {
		t.Helper()
		if err := b.db.QueryRow(t.Context(), cdc.EditionSQL).Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	before := edition()
	b.names.edition = before
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a"))}
	b.commit(b.sink, batch)
	if b.names.calls != 1 || b.names.outdated != nil {
		t.Fatalf("%d calls, %q outdated", b.names.calls, b.names.outdated)
	}
	b.exec(`ALTER TABLE commerce.users ALTER COLUMN username TYPE text USING upper(username)`)
	b.names.next = edition()
	batch.Rows = []event.Released{row(1, checkout("b"))}
	b.commit(b.sink, batch)
	if !slices.Equal(b.names.outdated, []string{before}) || b.names.calls != 3 {
		t.Fatalf("%d calls, %q outdated", b.names.calls, b.names.outdated)
	}
	if st := b.sink.Stats(); st.Retries[causePlan] != 1 {
		t.Fatalf("%+v", st)
	}
}
