package audit

import (
	"testing"
	"time"
)

// noted is an event that the pipeline noted although it was not late: it lies so many minutes ahead
// of Postgres' clock of then. Everything up to minutes final is final.
func (w *world) noted(ahead, final float64) {
	w.t.Helper()
	w.exec(`UPDATE firstclick.late SET recorded_at = event_time - $1 * interval '1 minute'`, ahead)
	w.finalBefore(final)
}

func (w *world) finalBefore(minutes float64) {
	w.t.Helper()
	w.exec(`UPDATE firstclick.offsets SET final_before = $1`, noon.Add(time.Duration(minutes*float64(time.Minute))))
}

// What was noted without being late (it was dated far ahead of a clock that was right, or of one of
// ours that was behind) may concern rows that still move, or that come later: a click that no
// restart reads again, a checkout that nothing corrects. Its note stays open until they are final,
// whatever Postgres' clock said when it was written.
func TestANoteStaysOpenAsLongAsRowsMove(t *testing.T) {
	for _, ahead := range []float64{-0.1, 2, 50, 63.5, 70, 26 * 60} {
		w := base(t)
		w.produce("clicks", 0, clickOf("0", 1, "p", -1))
		w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 50))
		w.row("k5", "ann", "p", 50, "", 0)
		w.read([2]int64{3, 2}, [2]int64{3, 2})
		w.late("click", 0, 2, "0", 1, "p", -1)
		w.late("checkout", 0, 2, "k5", 1, "p", 50)
		w.noted(ahead, 49)
		if r := w.repair(); r.Late != 2 || r.Repaired != 0 || r.Ahead != 2 || r.Moved != 1 {
			t.Errorf("%v min ahead, before its rows are final: repaired %+v", ahead, r)
		}
		if got := w.clickOfRow("k5"); got[0] != '0' {
			t.Errorf("%v min ahead: k5 has %s", ahead, got)
		}
		w.finalBefore(59.5)
		if r := w.repair(); r.Repaired+r.Ahead != 2 {
			t.Errorf("%v min ahead: repaired %+v", ahead, r)
		}
		w.finalBefore(120)
		if r := w.repair(); r.Ahead != 0 {
			t.Errorf("%v min ahead, when its rows are final: repaired %+v", ahead, r)
		}
		w.expect(w.verify(), nil)
	}
}

// A click that was dated far ahead is noted for the restart that forgets it. A row that lacks it is
// explained, also while other clicks still correct the row. By then Postgres' clock may have
// differed from ours by what our clock may be wrong and is believed.
func TestAClickThatARestartForgotIsExplained(t *testing.T) {
	for ahead, want := range map[float64]map[string]int64{
		61: {"Explained": 1}, 66: {"Explained": 1}, 26 * 60: {"Explained": 1},
		50: {"Different": 1}, // no clock of ours can have noted it
	} {
		w := base(t)
		w.produce("clicks", 0, clickOf("0", 1, "p", -55))
		w.read([2]int64{3, 2}, [2]int64{2, 2})
		w.late("click", 0, 2, "0", 1, "p", -55)
		w.noted(ahead, -30)
		w.expect(w.verify(), want)
		w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'a2'
			WHERE checkout_id = 'k1'`) // worse than without the click
		w.expect(w.verify(), map[string]int64{"Different": 1})
		w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'a' WHERE checkout_id = 'k1'`)
		if r := w.repair(); r.Moved != 1 || r.Ahead != 1 {
			t.Errorf("%v min ahead: repaired %+v", ahead, r)
		}
		w.expect(w.verify(), nil)
	}
}
