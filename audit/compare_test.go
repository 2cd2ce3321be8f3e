package audit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

// never is a grace by which nothing is too fresh, whatever the clock says: the records of these
// tests are of a fixed day.
const never = -1_000_000 * time.Hour

// legacy gives another job's table, in which everything is right: see base. Its columns are of
// other types than ours.
func legacy(t *testing.T) *world {
	t.Helper()
	w := base(t)
	w.exec(`CREATE SCHEMA legacy`)
	w.asItShouldBe()
	return w
}

func (w *world) asItShouldBe() {
	w.t.Helper()
	w.exec(`DROP TABLE IF EXISTS legacy.attributed`)
	w.exec(`CREATE TABLE legacy.attributed AS SELECT checkout_id::text, click_id::varchar(36), click_time::timestamp(3),
		checkout_time AT TIME ZONE 'UTC' AS checkout_time
		FROM commerce.attributed_checkouts`)
}

func (w *world) compare(other Other) *Comparison {
	w.t.Helper()
	if other.Table == "" {
		other.Table = "legacy.attributed"
	}
	if other.Grace == 0 {
		other.Grace = never
	}
	r, err := Compare(w.t.Context(), w.cfg, other)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// found are the numbers that Compare gives, without those that are zero.
func (r *Comparison) found() map[string]int64 {
	all := map[string]int64{
		"same": r.Same, "missing": r.Missing, "extra": r.Extra, "doubled": r.Doubled, "different": r.Different,
		"unattributed": r.Unattributed,
		"misled":       r.Misled, "later": r.Later, "earlier": r.Earlier, "mistimed": r.Mistimed, "pending": r.Pending,
		"unverifiable": r.Unverifiable, "outside": r.Outside,
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

func same(a, b map[string]int64) bool {
	for name := range a {
		if a[name] != b[name] {
			return false
		}
	}
	return len(a) == len(b)
}

func TestCompare(t *testing.T) {
	type counts = map[string]int64
	const update = `UPDATE legacy.attributed SET `
	type test struct {
		name  string
		with  func(w *world)
		other Other
		want  counts
	}
	run := func(t *testing.T, w *world, c test) {
		c.with(w)
		r := w.compare(c.other)
		got := r.found()
		if !same(got, c.want) {
			var text strings.Builder
			_, _ = r.WriteTo(&text)
			t.Errorf("got %v, want %v\n%s", got, c.want, text.String())
		}
		var text strings.Builder
		if _, _ = r.WriteTo(&text); strings.Contains(text.String(), "of these") != (c.want["different"] > 0) {
			t.Errorf("a list is announced, or there is one that is not:\n%s", text.String())
		}
		wrong := c.want["missing"] + c.want["extra"] + c.want["doubled"] + c.want["different"]
		if r.OK() != (wrong == 0) || (r.ExpectedDigest == r.ActualDigest) != (wrong == 0) {
			t.Errorf("OK %v, digests %s and %s", r.OK(), r.ExpectedDigest, r.ActualDigest)
		}
		if wrong > 0 && len(r.Examples) != int(wrong) {
			t.Errorf("examples %+v", r.Examples)
		}
	}
	shared := legacy(t) // only the table changes
	for _, c := range []test{
		{"all is well", func(*world) {}, Other{}, counts{"same": 4}},
		{"missing", func(w *world) { w.exec(`DELETE FROM legacy.attributed WHERE checkout_id IN ('k1', 'k3')`) },
			Other{}, counts{"same": 2, "missing": 2}},
		{"extra", func(w *world) { w.exec(`INSERT INTO legacy.attributed VALUES ('k9', 'a', now(), now())`) }, Other{},
			counts{"same": 4, "extra": 1}},
		{"doubled", func(w *world) {
			w.exec(`INSERT INTO legacy.attributed SELECT * FROM legacy.attributed WHERE checkout_id = 'k1'`)
		}, Other{}, counts{"same": 4, "doubled": 1}},
		{"without its click", func(w *world) {
			w.exec(update + `click_id = NULL, click_time = NULL WHERE checkout_id = 'k1'`)
		}, Other{}, counts{"same": 3, "different": 1,
			"unattributed": 1}},
		{"with a click of nobody", func(w *world) {
			w.exec(update + `click_id = 'x', click_time = checkout_time AT TIME ZONE 'UTC' WHERE checkout_id = 'k3'`)
		}, Other{}, counts{"same": 3, "different": 1, "misled": 1}},
		{"the last click", func(w *world) {
			w.exec(update+`click_id = 'b', click_time = $1::text::timestamp WHERE checkout_id = 'k1'`, at(-40))
		}, Other{}, counts{"same": 3, "different": 1, "later": 1}},
		{"the other of two at the same time", func(w *world) {
			w.exec(update + `click_id = 'a2' WHERE checkout_id = 'k1'`)
		}, Other{}, counts{"same": 3, "different": 1, "later": 1}},
		{"a click before the window", func(w *world) {
			w.exec(update+`click_id = 'a', click_time = $1::text::timestamp WHERE checkout_id = 'k2'`, at(-50))
		}, Other{}, counts{"same": 3, "different": 1, "earlier": 1}},
		{"the click at another time", func(w *world) {
			w.exec(update + `click_time = click_time + interval '1 hour' WHERE checkout_id = 'k1'`)
		}, Other{}, counts{"same": 3, "different": 1, "mistimed": 1}},
		{"the click at no time", func(w *world) { w.exec(update + `click_time = NULL WHERE checkout_id = 'k1'`) },
			Other{}, counts{"same": 3, "different": 1, "mistimed": 1}},
		{"a later part", func(w *world) { w.exec(`DELETE FROM legacy.attributed`) },
			Other{Since: noon.Add(time.Minute)}, counts{"outside": 3, "missing": 1}},
		{"an earlier part", func(w *world) {
			w.exec(`INSERT INTO legacy.attributed VALUES ('k9', NULL, NULL, $1::text::timestamp)`, at(60))
		}, Other{Until: noon.Add(time.Minute)}, counts{"same": 3, "outside": 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			shared.asItShouldBe()
			run(t, shared, c)
		})
	}
	for _, c := range []test{
		{"without firstclick's tables", func(w *world) { w.exec(`DROP SCHEMA firstclick CASCADE`) }, Other{},
			counts{"same": 4}},
		{"a shorter window", func(w *world) { w.cfg.Window = 45 * time.Minute }, Other{},
			counts{"same": 1, "different": 3, "earlier": 1, "misled": 2}},
		{"a view without checkout_time", func(w *world) {
			w.exec(`CREATE VIEW "legacy"."A b" AS SELECT click_time, click_id, checkout_id FROM legacy.attributed`)
		}, Other{Table: `legacy."A b"`}, counts{"same": 4}},
		{"too late for firstclick, not for the truth", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
		}, Other{}, counts{"same": 3, "different": 1, "later": 1}},
		{"equal twice", func(w *world) { w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0)) }, Other{},
			counts{"same": 4}},
		{"two of one id, the row of either", func(w *world) { w.produce("checkouts", 1, checkoutOf("k1", 2, "p", 0)) },
			Other{}, counts{"same": 4}},
		{"two of one id, the row of neither", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 2, "p", 0))
			w.exec(update + `click_id = 'a2' WHERE checkout_id = 'k1'`)
		}, Other{}, counts{"same": 3, "different": 1, "later": 1}},
		{"no events", func(w *world) { w.produce("checkouts", 1, "{", checkoutOf("k7", 1, "p", 66)) }, Other{},
			counts{"same": 4}},
		{"clicks are gone", func(w *world) {
			w.deleteBelow("clicks", 1, 2) // a and a2
		}, Other{}, counts{"same": 3, "unverifiable": 1}},
		{"clicks are gone, and no row was ever right", func(w *world) {
			w.deleteBelow("clicks", 1, 2)
			w.exec(update + `click_id = NULL, click_time = NULL WHERE checkout_id = 'k1'`)
		}, Other{}, counts{"same": 3, "different": 1, "unattributed": 1}},
		{"checkouts are gone", func(w *world) { w.deleteBelow("checkouts", 0, 1) }, Other{},
			counts{"same": 3, "unverifiable": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, legacy(t), c)
		})
	}
}

// What came within the grace need not have had its effect.
func TestCompareFresh(t *testing.T) {
	w := legacy(t)
	fresh := func(topic, value string) {
		kafkatest.ProduceRecords(t, w.brokers, topic, 0,
			&kgo.Record{Value: []byte(value), Timestamp: stamp.Add(10 * time.Minute)})
	}
	fresh("clicks", clickOf("0", 1, "p", -55))      // k1's, and not there yet
	fresh("checkouts", checkoutOf("k5", 1, "p", 1)) // no row yet
	grace := time.Since(stamp.Add(5 * time.Minute))
	if got := w.compare(Other{Grace: grace}).found(); !same(got, map[string]int64{"same": 3, "pending": 2}) {
		t.Errorf("got %v", got)
	}
	w.exec(`UPDATE legacy.attributed SET click_id = 'a2'
		WHERE checkout_id = 'k1'`) // neither the old answer nor the new one
	w.exec(`DELETE FROM legacy.attributed WHERE checkout_id = 'k3'`)
	if got := w.compare(Other{Grace: grace}).found(); !same(got,
		map[string]int64{"same": 2, "missing": 1, "different": 1, "later": 1, "pending": 1}) {
		t.Errorf("got %v", got)
	}
	if got := w.compare(Other{}).found(); !same(got, map[string]int64{"same": 2, "missing": 2, "different": 1,
		"later": 1}) {
		t.Errorf("without grace: %v", got)
	}
}

func TestCompareRefuses(t *testing.T) {
	w := legacy(t)
	w.exec(`CREATE TABLE legacy.other (checkout_id text, click text)`)
	for table, says := range map[string]string{"legacy.nothing": "does not exist", "nowhere.at_all": "does not exist",
		"legacy.other":           "no column click_id, click_time",
		"legacy.t; DROP TABLE x": "invalid name syntax", "a.b.c.d": "too many dotted names",
		"other.legacy.t": "cross-database"} {
		_, err := Compare(t.Context(), w.cfg, Other{Table: table})
		// To newer versions of Postgres, what is no name is the name of nothing.
		if !errors.Is(err, ErrTable) || !strings.Contains(err.Error(), says) &&
			!strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: %v", table, err)
		}
	}
	// What Postgres says of a value that is no time is said once.
	w.exec(`CREATE TABLE legacy.text (checkout_id text, click_id text, click_time text); INSERT INTO legacy.text
		VALUES ('k1', 'a', 'noon or so')`)
	if _, err := Compare(t.Context(), w.cfg, Other{Table: "legacy.text"}); err == nil ||
		strings.Count(err.Error(), "noon or so") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestComparisonForPeople(t *testing.T) {
	w := legacy(t)
	w.produce("clicks", 0, "{")
	w.exec(`DELETE FROM legacy.attributed WHERE checkout_id = 'k1'`)
	w.exec(`UPDATE legacy.attributed SET click_id = NULL, click_time = NULL WHERE checkout_id = 'k2'`)
	r := w.compare(Other{})
	var text strings.Builder
	if _, err := r.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"legacy.attributed against Kafka, window 1h0m0s: read 4 clicks and 4 checkouts (0 duplicates), 3 rows (1 " +
			"with a click)",
		"1  missing", "1                 without a click, and there is one",
		"records that nobody can have made rows of: json", "missing checkout k1 (checkouts-0, offset 0)",
		"expected: click b at 2026-11-23 11:20:00, user 1, product p, checkout_time 2026-11-23 12:15:00",
		"there is: no click", "NOT as it should be", r.ActualDigest,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}
