package audit

import (
	"strings"
	"testing"
	"time"
)

// stored writes what a shard knows of what it has read: rows before final are final, clicks below
// restore lie before expire.
func (w *world) stored(partition int, recent int64, final float64, restore [2]int64, latest [2]float64) {
	w.t.Helper()
	when := func(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }
	w.exec(`UPDATE firstclick.offsets
		SET recent_offset = $2, final_before = $3, expire_before = $4, clicks_restore = $5, clicks_latest = $6
		WHERE partition = $1`,
		partition, recent, when(final), when(final-60), restore[:], []time.Time{when(latest[0]), when(latest[1])})
}

// What retention has taken excuses what it can have been, and no more: as many rows as records, of
// times that those can have had.
func TestVerifyWhatIsLostExcusesLittle(t *testing.T) {
	type counts = map[string]int64
	// k1 and click a are gone, and all that is known of them is that they were.
	taken := func(w *world) {
		w.deleteBelow("clicks", 1, 1)
		w.deleteBelow("checkouts", 0, 1)
	}
	const invent = `UPDATE commerce.attributed_checkouts
		SET click_id = 'invented', click_time = checkout_time - interval '1 minute' WHERE checkout_id = `
	for _, c := range []struct {
		name    string
		with    func(w *world)
		want    counts
		verdict Verdict
	}{
		{"as it is", taken, counts{"Unverifiable": 1, "Judged": 3}, VerdictGreen},
		{"an invented row beside it", func(w *world) { taken(w); w.row("k9", "ann", "p", 0, "", 0) },
			counts{"Unverifiable": 1, "Extra": 1}, VerdictRed},
		{"the record was a dead letter", func(w *world) { taken(w); w.dead("checkouts", 0, 0, "json", "open") },
			counts{"Extra": 1}, VerdictRed},
		{"an invented row of a time at which nothing can be lost", func(w *world) {
			taken(w)
			w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
			w.stored(0, 1, 10, [2]int64{}, [2]float64{})
			w.row("k9", "ann", "p", 11, "", 0)
		}, counts{"Extra": 1}, VerdictRed},
		{"a row of a time at which it can be lost", func(w *world) {
			taken(w)
			w.stored(0, 1, 10, [2]int64{}, [2]float64{})
		}, counts{"Unverifiable": 1}, VerdictGreen},
		{"a row dated far ahead, which is noted", func(w *world) {
			taken(w)
			w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
			w.stored(0, 1, 10, [2]int64{}, [2]float64{})
			w.row("k9", "ann", "p", 5*24*60, "", 0)
			w.late("checkout", 0, 0, "k9", 1, "p", 5*24*60)
		}, counts{"Unverifiable": 1, "Extra": 0}, VerdictGreen},
		{"a row dated far ahead, of another time than is noted", func(w *world) {
			taken(w)
			w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
			w.stored(0, 1, 10, [2]int64{}, [2]float64{})
			w.row("k9", "ann", "p", 5*24*60, "", 0)
			w.late("checkout", 0, 0, "k9", 1, "p", 5*24*60+1)
		}, counts{"Unverifiable": 0, "Extra": 1}, VerdictRed},
		{"an invented click, and no click was lost", func(w *world) {
			w.deleteBelow("checkouts", 0, 1)
			w.exec(invent + `'k3'`)
		}, counts{"Unverifiable": 1, "Different": 1}, VerdictRed},
		{"an invented click that may be the one that was lost", func(w *world) { taken(w); w.exec(invent + `'k3'`) },
			counts{"Unverifiable": 2, "Doubtful": 1}, VerdictCannotTell},
		{"two rows of one click that was lost", func(w *world) {
			taken(w)
			w.produce("checkouts", 1, checkoutOf("k5", 1, "p", 0), checkoutOf("k6", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{2, 4})
			w.row("k5", "ann", "p", 0, "a", -50)
			w.row("k6", "ann", "p", 0, "a", -50)
		}, counts{"Unverifiable": 3}, VerdictGreen},
		{"more clicks than were lost", func(w *world) {
			taken(w)
			w.exec(invent + `'k3'`)
			w.produce("checkouts", 1, checkoutOf("k5", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{2, 3})
			w.row("k5", "ann", "p", 0, "a", -50)
		}, counts{"Unverifiable": 2, "Doubtful": 1, "Different": 1}, VerdictRed},
		{"an invented click later than any that was lost", func(w *world) {
			taken(w)
			w.exec(invent + `'k3'`)
			w.stored(1, 0, 60, [2]int64{}, [2]float64{-40, -50})
		}, counts{"Unverifiable": 1, "Different": 1}, VerdictRed},
		{"an invented click that the restore point says is not lost", func(w *world) {
			taken(w)
			w.exec(invent + `'k3'`)
			w.stored(1, 0, 10, [2]int64{0, 1}, [2]float64{60, 60})
		}, counts{"Unverifiable": 1, "Different": 1}, VerdictRed},
		{"a click that was lost before the restore point", func(w *world) {
			taken(w)
			w.produce("checkouts", 1, checkoutOf("k5", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{2, 3})
			w.row("k5", "ann", "p", 0, "a", -50)
			w.stored(1, 0, 60, [2]int64{0, 1}, [2]float64{-40, -50})
		}, counts{"Unverifiable": 2}, VerdictGreen},
		{"a NULL for a click that is there", func(w *world) {
			taken(w)
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k2'`)
		}, counts{"Unverifiable": 1, "Different": 1}, VerdictRed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			r := w.verify()
			w.expect(r, c.want)
			if r.Verdict != c.verdict {
				t.Errorf("the verdict is %s, want %s", r.Verdict, c.verdict)
			}
		})
	}
}

// Where nothing can be judged nobody can tell, however little is wrong.
func TestVerifyCannotTell(t *testing.T) {
	for name, with := range map[string]func(w *world){
		"a group that does not exist": func(w *world) { w.cfg.Group = "typo" },
		"nothing read":                func(w *world) { w.read([2]int64{}, [2]int64{}) },
		"all records gone": func(w *world) {
			for _, topic := range []string{"clicks", "checkouts"} {
				for p := range int32(2) {
					w.deleteBelow(topic, p, 2)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := base(t)
			with(w)
			r := w.verify()
			var text strings.Builder
			if _, err := r.WriteTo(&text); err != nil {
				t.Fatal(err)
			}
			if !r.OK() || r.Verdict != VerdictCannotTell ||
				!strings.Contains(text.String(), "CANNOT TELL: no row could be judged") {
				t.Errorf("%s\n%s", r.Verdict, text.String())
			}
		})
	}
}

// Rows of before the group's start are another job's: neither extra nor judged. A row whose time
// says that it cannot be one of them is.
func TestVerifyRowsOfBeforeTheStart(t *testing.T) {
	type counts = map[string]int64
	begin := func(w *world, start string) {
		w.exec(`UPDATE firstclick.progress
			SET clicks_start = '{1,1}', checkouts_start = '{1,1}', start = $1,
			created_at = $2`, start, noon.Add(3*time.Hour))
	}
	for _, c := range []struct {
		name    string
		with    func(w *world)
		want    counts
		verdict Verdict
	}{
		{"their records are there", func(w *world) { begin(w, "latest") }, counts{"BeforeStart": 2}, VerdictGreen},
		{"one is wrong", func(w *world) {
			begin(w, "latest")
			w.exec(`UPDATE commerce.attributed_checkouts SET ip_address = 'other' WHERE checkout_id = 'k1'`)
		}, counts{"BeforeStart": 2}, VerdictGreen},
		{"their records are gone", func(w *world) {
			begin(w, "2026-11-23T12:20:00Z")
			w.deleteBelow("checkouts", 0, 1)
			w.deleteBelow("checkouts", 1, 1)
		}, counts{"BeforeStart": 2}, VerdictGreen},
		{"an invented row of after the start", func(w *world) {
			begin(w, "2026-11-23T12:20:00Z")
			w.row("k9", "ann", "p", 26, "", 0)
		}, counts{"BeforeStart": 2, "Extra": 1}, VerdictRed},
		{"an invented row of the minute after the start, and something is gone", func(w *world) {
			begin(w, "2026-11-23T12:20:00Z")
			w.deleteBelow("checkouts", 0, 1)
			w.row("k9", "ann", "p", 21, "", 0)
		}, counts{"BeforeStart": 2, "Unverifiable": 1, "Doubtful": 1}, VerdictCannotTell},
		{"an invented row, and nothing is gone", func(w *world) {
			begin(w, "latest")
			w.row("k9", "ann", "p", 1, "", 0)
		}, counts{"BeforeStart": 2, "Extra": 1}, VerdictRed},
		{"a row that the old job made has a click of before the start", func(w *world) {
			begin(w, "latest")
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'b', click_time = $1::text::timestamp
				WHERE checkout_id = 'k3'`, at(-40))
			w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.row("k5", "ann", "p", 0, "a", -50)
		}, counts{"BeforeStart": 2, "Different": 1}, VerdictRed}, // of k3: b is another user's
		{"a wrong row of after the start", func(w *world) {
			begin(w, "latest")
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k4'`)
			w.produce("clicks", 0, clickOf("y", 3, "q", -59))
			w.read([2]int64{3, 2}, [2]int64{2, 2})
		}, counts{"BeforeStart": 2, "Different": 1}, VerdictRed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			r := w.verify()
			w.expect(r, c.want)
			if r.Verdict != c.verdict {
				t.Errorf("the verdict is %s, want %s", r.Verdict, c.verdict)
			}
		})
	}
}

// A note explains a row only if the event can have come too late for it: neither before rows of its
// time were final by any clock, nor for a row that is not final.
func TestVerifyLateNotesThatExplainNothing(t *testing.T) {
	type counts = map[string]int64
	null := func(w *world) {
		w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL WHERE checkout_id = 'k1'`)
		w.late("click", 1, 0, "a", 1, "p", -50)
		w.late("click", 1, 1, "a2", 1, "p", -50)
		w.late("click", 0, 0, "b", 1, "p", -40)
	}
	recorded := func(w *world, minutes float64) {
		w.exec(`UPDATE firstclick.late SET recorded_at = $1`, noon.Add(time.Duration(minutes*float64(time.Minute))))
	}
	for _, c := range []struct {
		name string
		with func(w *world)
		want counts
	}{
		{"late", func(w *world) { null(w); recorded(w, 0) }, counts{"Explained": 1}},
		{"noted a minute after the click", func(w *world) { null(w); recorded(w, -39) }, counts{"Different": 1}},
		{"noted a minute after the checkout, which is noted too", func(w *world) {
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k1'`)
			w.late("checkout", 0, 0, "k1", 1, "p", 0)
			recorded(w, 1)
		}, counts{"Different": 1}},
		{"the row was not final", func(w *world) {
			null(w)
			recorded(w, 0)
			w.stored(0, 0, 0, [2]int64{},
				[2]float64{})
		}, counts{"Different": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			r := w.verify()
			w.expect(r, c.want)
			if c.want["Different"] == 0 {
				return
			}
			if done := w.repair(); done.Moved != 1 {
				t.Errorf("repair did %+v", done)
			}
			w.expect(w.verify(), nil)
		})
	}
}

// Users beyond 32 bits are nobody's in an event, and no reason to fail.
func TestVerifyWideUserIDs(t *testing.T) {
	w := base(t)
	w.exec(`ALTER TABLE commerce.users ALTER COLUMN id TYPE bigint`)
	w.exec(`INSERT INTO commerce.users VALUES (5000000000, 'wide', 'x'), (-9223372036854775808, 'least', 'x')`)
	w.expect(w.verify(), nil)
	w.exec(`UPDATE commerce.attributed_checkouts SET user_name = NULL WHERE checkout_id = 'k1'`)
	w.expect(w.verify(), map[string]int64{"Unfilled": 1})
}

// What a column cannot hold is not demanded, and what it can hold is.
func TestVerifyCoarseClickTimes(t *testing.T) {
	for precision, unit := range map[string]string{"0": "1 second", "3": "1 ms", "5": "10 microseconds"} {
		t.Run("timestamp("+precision+")", func(t *testing.T) {
			w := newWorld(t)
			// b is the first; rounded, both are at the same time, and the second's id is less.
			w.produce("clicks", 0, clickOf("b", 1, "p", -10+0.000000017), clickOf("a", 1, "p", -10+0.000000034))
			w.produce("checkouts", 0, checkoutOf("k1", 1, "p", 0))
			w.exec(`ALTER TABLE commerce.attributed_checkouts ALTER click_time TYPE timestamp(` + precision +
				`), ALTER checkout_time TYPE timestamp(` + precision + `)`)
			w.row("k1", "", "p", 0, "b", -10+0.000000017)
			w.begun([2]int64{2, 0}, [2]int64{1, 0})
			r := w.verify()
			w.expect(r, nil)
			if r.ExpectedDigest != r.ActualDigest {
				t.Error("the digests differ")
			}
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'a'`)
			w.expect(w.verify(), map[string]int64{"Different": 1})
			w.exec(`UPDATE commerce.attributed_checkouts
				SET click_id = 'b', click_time = click_time + $1::text::interval`, unit)
			w.expect(w.verify(), map[string]int64{"Different": 1})
		})
	}
}
