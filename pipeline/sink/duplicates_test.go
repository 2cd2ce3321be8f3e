package sink

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"firstclick/join/event"
)

// While duplicates are common each row still ends as it would: the first of an id stays, whether it
// was there, comes in the same transaction, is refused, or is written by another instance between
// the question and the copy.
func TestSplitRows(t *testing.T) {
	for name, before := range map[string]func(s *Sink){
		"asked for":  func(s *Sink) { s.duplicates.record(true); s.duplicates.record(true) },
		"recent ids": func(s *Sink) { s.recentIDs.record(true) },
	} {
		t.Run(name, func(t *testing.T) { splitRows(t, before) })
	}
}

func splitRows(t *testing.T, before func(s *Sink)) {
	b := newBench(t)
	before(b.sink)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("b"))}
	b.commit(b.sink, batch)

	tooLarge, other := checkout("d"), checkout("b")
	tooLarge.Amount, other.IP = text("1"+strings.Repeat("0", 30)), text("other")
	batch.Rows = []event.Released{
		clicked(row(2, checkout("a")), "k", noon-5), // stands, and learns of its click
		row(3, other),                // stands, and differs
		row(4, checkout("c")),        // new
		row(5, checkout("c")),        // the same again
		row(6, tooLarge),             // refused:
		row(7, checkout("d")),        // this one takes its place
		row(8, checkout("held")),     // another instance writes it meanwhile
		row(9, checkout("the last")), // new, and copied twice for that
	}
	tx := b.held(`INSERT INTO commerce.attributed_checkouts
		SELECT (jsonb_populate_record(a, '{"checkout_id": "held"}')).* FROM commerce.attributed_checkouts a
		WHERE checkout_id = 'a'`)
	ended := aside(t.Context(), b.sink, batch)
	b.await(`SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'firstclick-a'
		AND wait_event_type = 'Lock' AND query LIKE '%COPY commerce%'`)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := <-ended
	if d.err != nil {
		t.Fatal(d.err)
	}
	if want := (Result{Fresh: 3, Duplicates: 3, Conflicts: 1, Refused: 1, Corrected: 1,
		DeadLetters: 2}); d.res != want {
		t.Fatalf("got %+v, want %+v", d.res, want)
	}
	b.expect("a|k\nb|-\nc|-\nd|-\nheld|-\nthe last|-",
		`SELECT checkout_id, click_id FROM commerce.attributed_checkouts ORDER BY checkout_id COLLATE "C"`)
	b.expect("3|"+string(event.ReasonConflict)+"\n6|"+string(event.ReasonRefused),
		`SELECT "offset", reason FROM firstclick.dead_letters ORDER BY 1`)
}

// Transactions with duplicates go one by one, so that neither finds an id that the other has
// written and not committed.
func TestTransactionsWithDuplicatesGoOneByOne(t *testing.T) {
	b := newBench(t)
	one, two := b.claim(b.sink, 0), b.claim(b.sink, 1)
	one.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("a"))}
	two.Rows = []event.Released{row(0, checkout("b")), row(1, checkout("b"))}
	tx := b.held(`INSERT INTO commerce.attributed_checkouts (checkout_id) VALUES ('a')`)
	ended := aside(t.Context(), b.sink, one)
	b.awaitLocked(1, "firstclick-a")
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.sink.Commit(short, []*Batch{two}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the second one did not wait for the first: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := <-ended; d.err != nil {
		t.Fatal(d.err)
	}
	b.commit(b.sink, two)
	b.expect("a\nb", `SELECT checkout_id FROM commerce.attributed_checkouts ORDER BY 1`)
	if st := b.sink.Stats(); counted(b.sink.metrics.staged) != 2 || st.Retries[causeConflict] != 0 {
		t.Fatalf("%+v", st)
	}
}
