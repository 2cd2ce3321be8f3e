package sink

import (
	"fmt"
	"slices"
	"testing"

	"firstclick/join/event"
	"firstclick/join/window"
)

// So many clicks of a checkout are tried and no more; the dead letter says so. Of two checkouts
// with one id the better click wins that Postgres takes.
func TestAWalkEnds(t *testing.T) {
	b := newBench(t)
	b.exec(`ALTER TABLE commerce.attributed_checkouts ADD CHECK (click_id NOT LIKE 'bad%')`)
	w := window.New(0)
	few, many, other := event.Key{Lo: 1}, event.Key{Lo: 2}, event.Key{Lo: 3}
	add := func(key event.Key, bad int) {
		for i := range bad {
			w.Insert(key, noon-100+int64(i), event.MakeID(fmt.Appendf(nil, "bad%02d", i)))
		}
		w.Insert(key, noon-100+int64(bad), idOf("good"))
	}
	add(few, maxClicks-1)
	add(many, maxClicks)
	w.Insert(other, noon-90, idOf("better"))
	of := func(key event.Key, offset int64, id string) event.Released {
		r := row(offset, checkout(id))
		r.Key = key
		r.ClickTime, r.Click, r.HasClick = w.First(key, noon-1000, noon)
		return r
	}
	batch := b.claim(b.sink, 0)
	batch.Clicks = w
	batch.Rows = []event.Released{of(few, 0, "a"), of(many, 1, "b"), of(few, 2, "c"), of(other, 3, "c")}
	res, err := b.sink.Commit(t.Context(), []*Batch{batch})
	if want := (Result{Fresh: 3, Duplicates: 1, Attributed: 1, Unclicked: 3, DeadLetters: 3,
		Corrected: 2}); err != nil || res != want {
		t.Fatalf("got %+v, %v, want %+v", res, err, want)
	}
	b.expect("a|good\nb|-\nc|better", `SELECT checkout_id, click_id FROM commerce.attributed_checkouts ORDER BY 1`)
	b.expect("0|14 more after it\n1|15 more after it; no further one was tried",
		`SELECT "offset", substr(detail, strpos(detail, ')') + 3) FROM firstclick.dead_letters WHERE "offset" < 2
			ORDER BY 1`)
	i := slices.IndexFunc(batch.Refused, func(r event.Refusal) bool { return r.Offset == 1 })
	if r := batch.Refused[i]; len(r.Tried) != maxClicks || !r.HasClick || r.Took != r.Tried[maxClicks-1] {
		t.Errorf("%+v", r)
	}
}
