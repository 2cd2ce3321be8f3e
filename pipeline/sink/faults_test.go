package sink

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/join/event"
)

func isCommit(m message) bool { return m.kind == 'B' && m.statement == "COMMIT" }

// committed is the server's answer to COMMIT.
func committed(m message) bool {
	return m.fromServer && m.kind == 'C' && bytes.HasPrefix(m.body, []byte("COMMIT\x00"))
}

func isCopyData(m message) bool { return m.kind == 'd' && !m.fromServer }

func isMove(m message) bool { return m.kind == 'B' && m.statement == moveSQL }

func TestConnectionCutAnywhere(t *testing.T) {
	cases := []struct {
		name  string
		what  verdictOnMessage
		match func(message) bool
	}{
		{"before offsets are moved", cut, isMove},
		{"in mid COPY", cut, isCopyData},
		{"in mid COPY, the session frozen", freeze, isCopyData},
		{"before COMMIT reached Postgres", cut, isCommit},
		{"before COMMIT reached Postgres, the session frozen", freeze, isCommit},
		{"after COMMIT, before its answer", cut, committed},
		{"after COMMIT, before its answer, the session frozen", freeze, committed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p, dsn := newProxy(t, b.dsn)
			s := b.open(dsn, "firstclick-p", b.names)
			one, two := b.claim(s, 0), b.claim(s, 1)
			one.Rows = []event.Released{row(0, checkout(uuid(1)))}
			b.commit(s, one, two)

			p.once(c.what, c.match, nil)
			one.Rows = []event.Released{row(1, checkout(uuid(2)))}
			two.Rows = []event.Released{clicked(row(0, checkout(uuid(3))), "c", noon)}
			two.Dead = []DeadLetter{{Topic: checkouts, Partition: 1, Offset: 1, Reason: event.ReasonEmpty}}
			one.Corrections = []event.Correction{{Checkout: idOf(uuid(1)), Click: idOf("c"), ClickTime: noon}}
			res := b.commit(s, one, two)
			if res.Fresh != 2 || res.Attributed != 1 || res.DeadLetters != 1 || res.Duplicates != 0 {
				t.Errorf("got %+v", res)
			}
			if got := s.Stats(); got.Retries[causeConnection] != 1 || s.metrics.Transactions() != 2 ||
				got.LastError != "" {
				t.Errorf("stats %+v", got)
			}
			b.expect("0|2\n1|2", `SELECT partition, commits FROM firstclick.offsets ORDER BY 1`)
			b.expect("c\n-\nc", `SELECT click_id FROM commerce.attributed_checkouts ORDER BY checkout_id`)
			b.expect("1", `SELECT count(*) FROM firstclick.dead_letters`)
			b.commit(s, one, two)
			b.expect("0|3\n1|3", `SELECT partition, commits FROM firstclick.offsets ORDER BY 1`)
		})
	}
}

// After a COMMIT without an answer the rows may say more than committed and not committed.
func TestUnansweredCommitAndWhatCameAfter(t *testing.T) {
	cases := []struct {
		name            string
		after           string // what else happens before the sink looks
		fenced, rewound []int32
		committed       bool
		commits         [2]int64 // of the claims afterwards
	}{
		{"one shard taken over since", `UPDATE firstclick.offsets SET owner = gen_random_uuid(), commits = commits + 1
			WHERE partition = 1`,
			[]int32{1}, nil, true, [2]int64{1, 1}},
		{"both taken over", `UPDATE firstclick.offsets SET owner = gen_random_uuid()`, []int32{0, 1}, nil, false,
			[2]int64{0, 0}},
		{"Postgres lost a shard", `DELETE FROM firstclick.offsets WHERE partition = 0`, nil, []int32{0}, true,
			[2]int64{1, 1}},
		{"Postgres lost its tail", `UPDATE firstclick.offsets SET commits = commits - 2`, nil, []int32{0, 1}, false,
			[2]int64{0, 0}},
		{"lost and taken over", `UPDATE firstclick.offsets SET commits = -1,
			owner = CASE partition WHEN 0 THEN gen_random_uuid() ELSE owner END`,
			[]int32{0}, []int32{1}, false, [2]int64{0, 0}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p, dsn := newProxy(t, b.dsn)
			s := b.open(dsn, "firstclick-p", b.names)
			one, two := b.claim(s, 0), b.claim(s, 1)
			p.once(cut, committed, func() { b.exec(c.after) })
			_, err := s.Commit(t.Context(), []*Batch{one, two})
			var lost *LostShardsError
			if !errors.As(err, &lost) || !slices.Equal(lost.Fenced, c.fenced) ||
				!slices.Equal(lost.Rewound, c.rewound) || lost.Committed != c.committed {
				t.Fatalf("%+v, %v", lost, err)
			}
			if got := [2]int64{one.Claim.Commits, two.Claim.Commits}; got != c.commits {
				t.Errorf("claims at %v, want %v", got, c.commits)
			}
		})
	}
}

func TestFencing(t *testing.T) {
	b := newBench(t)
	old := b.claim(b.sink, 0)
	old.Rows = []event.Released{row(0, checkout("a"))}
	b.commit(b.sink, old)

	next := b.open(b.dsn, "firstclick-b", b.names)
	fresh := b.claim(next, 0)
	if fresh.Claim.Commits != 1 {
		t.Fatalf("claim %+v", fresh.Claim)
	}
	other := b.claim(b.sink, 1)
	old.Rows = []event.Released{row(1, checkout("b"))}
	old.Dead = []DeadLetter{{Topic: checkouts, Offset: 2, Reason: event.ReasonEmpty}}
	other.Rows = []event.Released{row(0, checkout("c"))}
	_, err := b.sink.Commit(t.Context(), []*Batch{other, old})
	var lost *LostShardsError
	if !errors.As(err, &lost) || !slices.Equal(lost.Fenced, []int32{0}) || lost.Committed {
		t.Fatal(err)
	}
	b.expect("a", `SELECT checkout_id FROM commerce.attributed_checkouts`)
	b.expect("0", `SELECT count(*) FROM firstclick.dead_letters`)
	b.expect("0|1\n1|0", `SELECT partition, commits FROM firstclick.offsets ORDER BY 1`)

	// The fenced one lets go of what is not its own; the new owner goes on.
	if err := b.sink.Release(t.Context(), old.Claim); err != nil {
		t.Fatal(err)
	}
	fresh.Rows = []event.Released{row(1, checkout("b"))}
	b.commit(next, fresh)
	if err := next.Release(t.Context(), fresh.Claim); err != nil {
		t.Fatal(err)
	}
	b.expect("-|-|2", `SELECT owner, instance, commits FROM firstclick.offsets WHERE partition = 0`)
	if _, err := next.Commit(t.Context(), []*Batch{fresh}); !errors.As(err, &lost) {
		t.Fatalf("after the release: %v", err)
	}
	// An instance of the same name, started again, takes over without ending itself.
	again := b.claim(b.open(b.dsn, "firstclick-b", b.names), 0)
	if again.Claim.Commits != 2 {
		t.Fatalf("claim %+v", again.Claim)
	}
}

func TestRewound(t *testing.T) {
	b := newBench(t)
	one, two := b.claim(b.sink, 0), b.claim(b.sink, 1)
	b.commit(b.sink, one, two)
	b.exec(`UPDATE firstclick.offsets SET commits = 0 WHERE partition = 1`)
	two.Rows = []event.Released{row(0, checkout("a"))}
	_, err := b.sink.Commit(t.Context(), []*Batch{one, two})
	var lost *LostShardsError
	if !errors.As(err, &lost) || !slices.Equal(lost.Rewound, []int32{1}) {
		t.Fatal(err)
	}
	if st := b.claim(b.sink, 1); st.Claim.Commits != 0 {
		t.Fatalf("claim %+v", st.Claim)
	}
	b.commit(b.sink, one)
	b.expect("0", `SELECT count(*) FROM commerce.attributed_checkouts`)
}

// An old owner that is frozen in mid COPY holds its offsets row and keys; the new owner needs both.
func TestTakeoverEndsFrozenSession(t *testing.T) {
	b := newBench(t)
	p, dsn := newProxy(t, b.dsn)
	old := b.open(dsn, "firstclick-old", b.names)
	batch := b.claim(old, 0)
	rows := randomRows(7, 5000)
	copied := 0
	reached := make(chan struct{})
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	p.set(func(m message) verdictOnMessage {
		if isCopyData(m) {
			if copied++; copied == 10 {
				p.rule = nil
				// a frozen owner does not come again by another connection, and so does not land
				// before it is taken over from
				p.ln.Close()
				close(reached)
				p.mu.Unlock() // this connection stands still, with both sides open
				<-stop
				p.mu.Lock()
				return cut
			}
		}
		return pass
	})
	ctx, cancel := context.WithCancel(t.Context())
	batch.Rows = rows
	ended := aside(ctx, old, batch)
	<-reached
	b.await(`SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'firstclick-old'
		AND wait_event = 'ClientRead' AND query LIKE '%COPY%'`)

	next := b.open(b.dsn, "firstclick-new", b.names)
	taken := b.claim(next, 0)
	taken.Rows = rows
	if res := b.commit(next, taken); res.Fresh != 5000 {
		t.Fatalf("%+v", res)
	}
	cancel()
	if d := <-ended; d.err == nil {
		t.Fatal("the old owner's transaction was committed as well")
	}
	b.expect("5000", `SELECT count(*) FROM commerce.attributed_checkouts`)
	if !strings.Contains(b.log.String(), "ended the sessions") {
		t.Error("the takeover was not logged")
	}
}

// await polls until a query answers true.
func (b *bench) await(sql string) {
	b.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		var ok bool
		if err := b.db.QueryRow(b.t.Context(), sql).Scan(&ok); err != nil {
			b.t.Fatal(err)
		}
		if ok {
			return
		}
		select {
		case <-deadline:
			b.t.Fatalf("waited in vain for: %s", sql)
		case <-ticker.C:
		}
	}
}

func TestDeadlockIsTriedAgain(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("b")), row(2, checkout("c"))}
	b.commit(b.sink, batch)
	const update = `UPDATE commerce.attributed_checkouts SET user_name = 'x' WHERE checkout_id = `
	open := func(application, id string) pgx.Tx {
		tx, err := b.connect(application).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{`SET deadlock_timeout = '1h'`, update + id} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		return tx
	}
	// A session looks for deadlocks once, a while after it began to wait. The other one never does,
	// and the gate holds the sink up until the other one waits: so the sink's is the last to wait,
	// and the one that fails.
	gate, other := open("gate", "'b'"), open("other", "'c'")
	id := func(s string) event.ID { return idOf(s) }
	batch.Corrections = []event.Correction{{Offset: 0, Checkout: id("a"), Click: id("k"), ClickTime: noon},
		{Offset: 1, Checkout: id("b"), Click: id("k"), ClickTime: noon}, {Offset: 2, Checkout: id("c"), Click: id("k"),
			ClickTime: noon}}
	ended := aside(t.Context(), b.sink, batch)
	b.awaitLocked(1, "firstclick-a")
	moved := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), update+"'a'")
		moved <- errors.Join(err, other.Commit(t.Context()))
	}()
	b.awaitLocked(1, "other")
	if err := gate.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if d := <-ended; d.err != nil || d.res.Corrected != 3 {
		t.Fatalf("%+v", d)
	}
	// more than one where the sink is back before the other session has woken up
	if got := b.sink.Stats().Retries[causeConflict]; got == 0 {
		t.Fatal("no retries")
	}
}

// Two shards bring the same new checkout at once: one waits for the other's key and finds a
// duplicate, or a conflict.
func TestSameNewCheckoutInTwoTransactions(t *testing.T) {
	b := newBench(t)
	one, two := b.claim(b.sink, 0), b.claim(b.sink, 1)
	// Somebody holds "m", so that both are at work at once, the first of them holding "b" and
	// waiting for "m".
	tx := b.held(`INSERT INTO commerce.attributed_checkouts (checkout_id) VALUES ('m')`)
	conflicting := checkout("c")
	conflicting.IP = text("other")
	one.Rows = []event.Released{row(0, checkout("m")), row(1, checkout("c")), row(2, checkout("b"))}
	two.Rows = []event.Released{row(0, checkout("b")), clicked(row(1, checkout("z")), "k", noon), row(2, conflicting)}
	first := aside(t.Context(), b.sink, one)
	b.awaitLocked(1, "firstclick-a")
	second := aside(t.Context(), b.sink, two)
	b.awaitLocked(2, "firstclick-a")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sum Result
	for _, ended := range []<-chan landing{first, second} {
		d := <-ended
		if d.err != nil {
			t.Fatal(d.err)
		}
		sum.Fresh += d.res.Fresh
		sum.Duplicates += d.res.Duplicates
		sum.Conflicts += d.res.Conflicts
		sum.DeadLetters += d.res.DeadLetters
	}
	if want := (Result{Fresh: 4, Duplicates: 1, Conflicts: 1, DeadLetters: 1}); sum != want {
		t.Fatalf("got %+v, want %+v", sum, want)
	}
	b.expect("b\nc\nm\nz", `SELECT checkout_id FROM commerce.attributed_checkouts ORDER BY checkout_id COLLATE "C"`)
	if got := b.sink.Stats().Retries[causeConflict]; got != 0 {
		t.Fatalf("%d deadlocks", got)
	}
}

func TestWaitsWhilePostgresIsReadOnly(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	// As a server does that was made a standby: a default of the database would not reach our
	// sessions.
	b.exec(`CREATE FUNCTION standby() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM set_config('transaction_read_only', 'on', true); DELETE FROM firstclick.late; RETURN NULL; END $$;
		CREATE TRIGGER standby BEFORE UPDATE ON firstclick.offsets FOR EACH STATEMENT EXECUTE FUNCTION standby()`)
	s := b.open(b.dsn, "firstclick-a2", b.names)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Release(ctx, batch.Claim) }()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for s.Stats().Retries[causeReadOnly] < 3 {
		<-ticker.C
	}
	if !strings.Contains(s.Stats().LastError, "read-only") {
		t.Errorf("last error %q", s.Stats().LastError)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := strings.Count(b.log.String(), "cause="+causeReadOnly); n != 1 {
		t.Errorf("logged %d times:\n%s", n, b.log)
	}
}
