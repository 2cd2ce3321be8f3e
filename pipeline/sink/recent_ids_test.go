package sink

import (
	"encoding/binary"
	"testing"
	"time"

	"firstclick/join/event"
)

// An id of the last 100,000 is recent, but for one in a million. An id that never came is not, but
// for one in a hundred million.
func TestRecentIDs(t *testing.T) {
	var f recentIDs
	f.record(true)
	id := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
	const lately, all = 100_000, 1_000_000
	strangers, forgotten := 0, 0
	for i := range all {
		if f.add(id(i)) {
			strangers++
		}
		if i >= lately && i%100 == 0 && !f.add(id(i-lately)) {
			forgotten++
		}
	}
	if strangers > 5 || forgotten > 5 {
		t.Errorf("of %d new ids %d are taken for recent ones, of %d that came %d others ago %d are forgotten",
			all, strangers,
			(all-lately)/100, lately, forgotten)
	}
}

// Nothing is kept while no duplicates come.
func TestRecentIDsOnlyWhileDuplicatesCome(t *testing.T) {
	var f recentIDs
	f.record(false)
	if f.buckets != nil {
		t.Error("kept before the first duplicate")
	}
	f.record(true)
	for range forgetIn - 1 {
		f.record(false)
	}
	if f.buckets == nil {
		t.Error("forgotten too early")
	}
	f.record(true)
	for range forgetIn {
		f.record(false)
	}
	if f.buckets != nil {
		t.Error("kept when duplicates have long ceased")
	}
}

// A duplicate with a recent id does not make the COPY fail, and the other ids are not looked up.
func TestRecentDuplicates(t *testing.T) {
	b := newBench(t)
	b.sink.recentIDs.record(true)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("b"))}
	b.commit(b.sink, batch)
	batch.Rows = []event.Released{row(2, checkout("b")), row(3, checkout("c")), row(4, checkout("c"))}
	b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 2})
	if got := b.sink.duplicates.last3.Load(); got != 0 {
		t.Errorf("history %b: duplicates that were expected count as met", got)
	}
	b.expect("a\nb\nc", `SELECT checkout_id FROM commerce.attributed_checkouts ORDER BY 1`)
}

// New rows are copied beside a transaction that is not committed. A duplicate of one of its rows
// waits for it.
func TestDuplicateOfWhatIsNotCommitted(t *testing.T) {
	b := newBench(t)
	b.sink.recentIDs.record(true)
	one, two := b.claim(b.sink, 0), b.claim(b.sink, 1)
	one.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("a")), row(2, checkout("held"))}
	other := clicked(row(0, checkout("a")), "k", noon-5)
	two.Rows = []event.Released{other, row(1, checkout("new"))}
	tx := b.held(`INSERT INTO commerce.attributed_checkouts (checkout_id) VALUES ('held')`)
	first := aside(t.Context(), b.sink, one)
	b.awaitLocked(1, "firstclick-a")
	second := aside(t.Context(), b.sink, two)
	b.await(`SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'firstclick-a'
		AND query LIKE '%COPY commerce%'`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := <-first; d.err != nil || d.res != (Result{Fresh: 2, Duplicates: 1}) {
		t.Fatalf("%+v", d)
	}
	if d := <-second; d.err != nil || d.res != (Result{Fresh: 1, Duplicates: 1, Corrected: 1}) {
		t.Fatalf("%+v", d)
	}
	b.expect("a|k\nheld|-\nnew|-", `SELECT checkout_id, click_id FROM commerce.attributed_checkouts ORDER BY 1`)
	if n := b.sink.Stats().Retries[causeConflict]; n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// Tickets are served in the order in which they were drawn, and a wait for one ends by its timeout.
func TestTickets(t *testing.T) {
	var ids recentIDs
	setOf := func(rows ...event.Released) *commitSet {
		set, err := newCommitSet([]*Batch{{Claim: &Claim{}, Rows: rows}})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	repeated := []event.Released{row(0, checkout("a")), row(1, checkout("a"))}
	one, two, plain := setOf(repeated...), setOf(repeated...), setOf(repeated[0])
	ids.mark(one, false)
	ids.mark(plain, false)
	ids.mark(two, false)
	if plain.ticket != nil || one.ticket == nil || two.ticket == nil {
		t.Fatal("who has a ticket?")
	}
	if err := one.ticket.wait(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	timeout := make(chan time.Time)
	came := make(chan error, 1)
	go func() { came <- two.ticket.wait(t.Context(), timeout) }()
	select {
	case <-came:
		t.Fatal("the second did not wait")
	case timeout <- time.Time{}: // it waits, until now
	}
	if err := <-came; err != nil {
		t.Fatal(err)
	}
	one.ticket.end()
	if err := two.ticket.wait(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	two.ticket.end()
}
