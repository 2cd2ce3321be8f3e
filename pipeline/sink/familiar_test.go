package sink

import (
	"encoding/binary"
	"testing"
	"time"

	"firstclick/join"
)

// What was met lately is familiar, whatever came since, and what never was is not: but for one in a million, and one in a hundred million.
func TestFamiliar(t *testing.T) {
	var f familiar
	f.note(true)
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
		t.Errorf("of %d new ids %d are familiar, of %d met %d others ago %d are forgotten", all, strangers, (all-lately)/100, lately, forgotten)
	}
}

// Nothing is kept while no duplicates come.
func TestFamiliarOnlyWhileDuplicatesCome(t *testing.T) {
	var f familiar
	f.note(false)
	if f.buckets != nil {
		t.Error("kept before the first duplicate")
	}
	f.note(true)
	for range forgetIn - 1 {
		f.note(false)
	}
	if f.buckets == nil {
		t.Error("forgotten too early")
	}
	f.note(true)
	for range forgetIn {
		f.note(false)
	}
	if f.buckets != nil {
		t.Error("kept when duplicates have long ceased")
	}
}

// A familiar duplicate neither makes the copy fail nor is Postgres asked for the others.
func TestFamiliarDuplicates(t *testing.T) {
	b := newBench(t)
	b.sink.familiar.note(true)
	batch := b.claim(b.sink, 0)
	batch.Rows = []Row{row(0, checkout("a")), row(1, checkout("b"))}
	b.commit(b.sink, batch)
	batch.Rows = []Row{row(2, checkout("b")), row(3, checkout("c")), row(4, checkout("c"))}
	if res := b.commit(b.sink, batch); res != (Result{Fresh: 1, Duplicates: 2}) {
		t.Fatalf("%+v", res)
	}
	if got := b.sink.path.history.Load(); got != 0 {
		t.Errorf("history %b: duplicates that were expected count as met", got)
	}
	b.expect("a\nb\nc", `SELECT checkout_id FROM commerce.attributed_checkouts ORDER BY 1`)
}

// What is new is copied beside a transaction that has not landed; a duplicate of one of its rows waits for it.
func TestFamiliarDuplicateOfWhatHasNotLanded(t *testing.T) {
	b := newBench(t)
	b.sink.familiar.note(true)
	one, two := b.claim(b.sink, 0), b.claim(b.sink, 1)
	one.Rows = []Row{row(0, checkout("a")), row(1, checkout("a")), row(2, checkout("held"))}
	other := clicked(row(0, checkout("a")), "k", noon-5)
	two.Rows = []Row{other, row(1, checkout("new"))}
	tx := b.held(`INSERT INTO commerce.attributed_checkouts (checkout_id) VALUES ('held')`)
	first := aside(t.Context(), b.sink, one)
	b.await(`SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'firstclick-a' AND wait_event_type = 'Lock'`)
	second := aside(t.Context(), b.sink, two)
	b.await(`SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'firstclick-a' AND query LIKE '%COPY commerce%'`)
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

// Turns come in the order in which they were taken, and a turn that does not come is not waited for for ever.
func TestTurns(t *testing.T) {
	var f familiar
	same := func() *work {
		a, b := row(0, checkout("a")), row(1, checkout("a"))
		return &work{rows: []entry{{row: &a}, {row: &b}}, repeats: true}
	}
	one, two, plain := same(), same(), &work{rows: []entry{{row: &Row{ID: join.MakeID([]byte("a")), Own: row(0, checkout("a")).Own}}}}
	f.meet(one, false)
	f.meet(plain, false)
	f.meet(two, false)
	if plain.sifted() || !one.sifted() || !two.sifted() {
		t.Fatal("who takes turns?")
	}
	if err := one.turn.wait(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	enough := make(chan time.Time)
	came := make(chan error, 1)
	go func() { came <- two.turn.wait(t.Context(), enough) }()
	select {
	case <-came:
		t.Fatal("the second did not wait")
	case enough <- time.Time{}: // it waits, and has had enough
	}
	if err := <-came; err != nil {
		t.Fatal(err)
	}
	one.turn.end()
	if err := two.turn.wait(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	two.turn.end()
}
