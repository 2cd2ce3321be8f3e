package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func (w *world) repair() *RepairReport {
	w.t.Helper()
	r, err := Repair(w.t.Context(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) clickOfRow(id string) string {
	w.t.Helper()
	var click string
	if err := w.db.QueryRow(w.t.Context(),
		`SELECT coalesce(click_id || ' ' || click_time, '-') FROM commerce.attributed_checkouts
			WHERE checkout_id = $1`, id).Scan(&click); err != nil {
		w.t.Fatal(err)
	}
	return click
}

func TestRepair(t *testing.T) {
	w := base(t)
	// 0 moves k1 only; 00 is of a user with a checkout and no click; k2 is late itself and has
	// none.
	w.produce("clicks", 0, clickOf("0", 1, "p", -55), clickOf("00", 2, "p", -1))
	w.read([2]int64{4, 2}, [2]int64{2, 2})
	w.late("click", 0, 2, "0", 1, "p", -55)
	w.late("click", 0, 3, "00", 2, "p", -1)
	w.late("checkout", 1, 0, "k2", 1, "p", 15)
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL WHERE checkout_id = 'k2'`)
	w.expect(w.verify(), map[string]int64{"Explained": 3})

	r := w.repair()
	if r.Late != 3 || r.Moved != 3 || r.Repaired != 3 || r.Kept != 0 || r.Left != 0 || len(r.Examples) != 3 {
		t.Errorf("repaired %+v", r)
	}
	for id, want := range map[string]string{"k1": "0 2026-11-23 11:05:00", "k2": "b 2026-11-23 11:20:00",
		"k3": "00 2026-11-23 11:59:00", "k4": "z 2026-11-23 11:00:00"} {
		if got := w.clickOfRow(id); got != want {
			t.Errorf("%s has %s, want %s", id, got, want)
		}
	}
	after := w.verify()
	w.expect(after, nil)
	if after.ExpectedDigest != after.ActualDigest {
		t.Error("the digests differ after repair")
	}
	if again := w.repair(); again.Late != 0 || again.Moved != 0 || again.Repaired != 0 {
		t.Errorf("a second run did %+v", again)
	}
}

// Rows only move to an earlier click, and a row that is wrong for no late event's sake is not
// touched.
func TestRepairKeepsEarlierClicks(t *testing.T) {
	w := base(t)
	w.produce("clicks", 0, clickOf("0", 1, "p", -55))
	w.read([2]int64{3, 2}, [2]int64{2, 2})
	w.late("click", 0, 2, "0", 1, "p", -55)
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = '?', click_time = $1::text::timestamp
		WHERE checkout_id = 'k1'`, at(-59))
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL WHERE checkout_id = 'k4'`)
	if r := w.repair(); r.Late != 1 || r.Moved != 0 || r.Repaired != 1 {
		t.Errorf("repaired %+v", r)
	}
	if got := w.clickOfRow("k1"); !strings.HasPrefix(got, "?") {
		t.Errorf("k1 has %s", got)
	}
	if got := w.clickOfRow("k4"); got != "-" {
		t.Errorf("k4 has %s", got)
	}
}

// What a server, a database or a role sets for its sessions moves no time, whatever the columns'
// types.
func TestRepairInAnotherTimeZone(t *testing.T) {
	for _, kind := range []string{"timestamp", "timestamptz"} {
		t.Run(kind, func(t *testing.T) {
			w := base(t)
			w.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I
				SET TimeZone = ''America/St_Johns''', current_database());
				EXECUTE format('ALTER DATABASE %I SET DateStyle = ''SQL, DMY''', current_database()); END $$`)
			if kind == "timestamptz" {
				w.exec(`ALTER TABLE commerce.attributed_checkouts ALTER click_time TYPE timestamptz
					USING click_time AT TIME ZONE 'UTC',
					ALTER checkout_time TYPE timestamptz USING checkout_time AT TIME ZONE 'UTC'`)
			}
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
			w.read([2]int64{3, 2}, [2]int64{2, 2})
			w.late("click", 0, 2, "0", 1, "p", -55)
			w.expect(w.verify(), map[string]int64{"Explained": 1})
			if r := w.repair(); r.Moved != 1 {
				t.Errorf("repaired %+v", r)
			}
			w.expect(w.verify(), nil)
			right := false
			err := w.db.QueryRow(t.Context(),
				`SELECT CASE WHEN pg_typeof(click_time)::text LIKE '%with time zone'
					THEN click_time::text::timestamptz = $1
				ELSE click_time::text::timestamp = $1 AT TIME ZONE 'UTC' END
				FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`, noon.Add(-55*time.Minute)).Scan(&right)
			if err != nil || !right {
				t.Errorf("k1 has %s, %v", w.clickOfRow("k1"), err)
			}
		})
	}
}

// In a column that holds whole seconds the row is moved by the clicks' own times.
func TestRepairOfCoarseTimes(t *testing.T) {
	w := base(t)
	w.exec(`ALTER TABLE commerce.attributed_checkouts ALTER click_time TYPE timestamp(0)`)
	w.produce("clicks", 0, clickOf("y", 2, "p", -10+0.4/60),
		clickOf("z", 2, "p", -10+0.3/60)) // both are stored as the same second
	w.read([2]int64{4, 2}, [2]int64{2, 2})
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'y', click_time = $1::text::timestamp
		WHERE checkout_id = 'k3'`, at(-10))
	w.late("click", 0, 3, "z", 2, "p", -10+0.3/60)
	w.expect(w.verify(), map[string]int64{"Explained": 1})
	if r := w.repair(); r.Moved != 1 || r.Repaired != 1 {
		t.Errorf("repaired %+v", r)
	}
	w.expect(w.verify(), nil)
}

// The write itself holds to the rule, whatever came between the snapshot and it.
func TestRepairIsMonotone(t *testing.T) {
	w := base(t)
	tx, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fix := func(checkout, clickID string, minutes int64) item {
		return item{event: event{id: checkout}, clicks: []click{{clickID, noon.UnixMicro() + minutes*60_000_000,
			hasBoth}}}
	}
	batch := []item{
		fix("k1", "a2", -50), // same time, greater id
		fix("k2", "B", -40),  // "B" < "b" by bytes
		fix("k3", "x", 0),
		fix("none", "x", 0),
	}
	v := &verifyRun{run: newRun(w.cfg, false)}
	var r RepairReport
	if err := v.applyBatch(t.Context(), tx, batch, &r); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Moved != 2 || r.Kept != 2 {
		t.Errorf("repaired %+v", r)
	}
	if got := w.clickOfRow("k1") + w.clickOfRow("k2")[:1] + w.clickOfRow("k3")[:1]; got != "a 2026-11-23 11:10:00Bx" {
		t.Errorf("rows have %s", got)
	}
}

// A late click that Kafka has dropped since is still in firstclick.late; a late checkout cannot be
// recomputed from there.
func TestRepairAfterRetention(t *testing.T) {
	w := base(t)
	w.exec(`UPDATE firstclick.progress SET clicks_start = '{0,0}'`)
	w.late("click", 1, 0, "a", 1, "p", -50)
	w.late("checkout", 0, 0, "k1", 1, "p", 0)
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'b', click_time = $1::text::timestamp
		WHERE checkout_id = 'k1'`, at(-40))
	w.deleteBelow("clicks", 1, 2)
	w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0))
	w.read([2]int64{2, 2}, [2]int64{2, 3})
	w.deleteBelow("checkouts", 0, 1)
	if r := w.repair(); r.Late != 2 || r.Moved != 1 || r.Repaired != 1 || r.Left != 1 {
		t.Errorf("repaired %+v", r)
	}
	if got := w.clickOfRow("k1"); !strings.HasPrefix(got, "a ") {
		t.Errorf("k1 has %s", got)
	}
}

// A shard notes a late click that another shard has not read. Whatever repair does before the other
// one reads it, its row is mended in the end.
func TestRepairWhileAShardLags(t *testing.T) {
	for _, between := range []int{0, 1, 2} { // runs of repair while the shard lags
		w := base(t)
		w.produce("clicks", 0, clickOf("c", 1, "p", -44)) // for k2 only, which is the second shard's
		w.late("click", 0, 2, "c", 1, "p", -44)
		w.exec(`UPDATE firstclick.offsets SET clicks_next = '{3,2}' WHERE partition = 0`)
		for range between {
			r := w.repair()
			if r.Late != 1 || r.Moved != 0 || r.Repaired != 0 || r.Unread != 1 {
				t.Errorf("while the shard lags: repaired %+v", r)
			}
			var text strings.Builder
			if _, err := r.WriteTo(&text); err != nil ||
				!strings.Contains(text.String(), "1 late clicks stay open: some shard has not read them yet") {
				t.Errorf("said, with error %v:\n%s", err, text.String())
			}
			w.expect(w.verify(), map[string]int64{"PendingClicks": 1, "PendingRows": 1})
		}
		w.read([2]int64{3, 2}, [2]int64{2, 2})
		w.expect(w.verify(), map[string]int64{"Explained": 1})
		if r := w.repair(); r.Moved != 1 || r.Repaired != 1 || r.Unread != 0 {
			t.Errorf("after %d runs: repaired %+v", between, r)
		}
		w.expect(w.verify(), nil)
		if again := w.repair(); again.Late != 0 {
			t.Errorf("a run after that did %+v", again)
		}
	}
}

// The row's own click is gone from Kafka, so nobody can say that it was right; the late click is
// better all the same.
func TestRepairMovesARowWhoseClickIsGone(t *testing.T) {
	w := base(t)
	w.produce("clicks", 1, clickOf("c", 1, "p", -55))
	w.read([2]int64{2, 3}, [2]int64{2, 2})
	w.late("click", 1, 2, "c", 1, "p", -55)
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'a1', click_time = $1::text::timestamp
		WHERE checkout_id = 'k1'`, at(-51))
	w.deleteBelow("clicks", 1, 1)
	if r := w.repair(); r.Moved != 1 || r.Repaired != 1 {
		t.Errorf("repaired %+v", r)
	}
	if got := w.clickOfRow("k1"); !strings.HasPrefix(got, "c ") {
		t.Errorf("k1 has %s", got)
	}
}

func TestReportsForPeopleAndMachines(t *testing.T) {
	w := base(t)
	w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
	var progress strings.Builder
	w.cfg.Progress = &progress
	r := w.verify()
	var text strings.Builder
	n, err := r.WriteTo(&text)
	if err != nil || n != int64(text.Len()) {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
	for _, want := range []string{"1  missing", "missing checkout k1 (checkouts-0, offset 0)",
		"click a at 2026-11-23 11:10:00, user 1", "NOT as it should be", r.ExpectedDigest} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	if !strings.Contains(progress.String(), "4 of 4 (100 %) offsets of topic clicks") {
		t.Errorf("progress: %s", progress.String())
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(raw, &back); err != nil || back.Missing != 1 || len(back.Examples) != 1 || back.OK() {
		t.Errorf("by JSON: %s, %v", raw, err)
	}
}

// A late click that Postgres refuses stops no repair, neither that of other rows nor that by the
// next click of its own row. A dead letter says why, and verify takes it for an answer as long as
// it is true.
func TestRepairWithRefusedClicks(t *testing.T) {
	for name, sql := range map[string]string{
		"check": `ALTER TABLE commerce.attributed_checkouts ADD CONSTRAINT good CHECK (click_id NOT LIKE 'bad%')`,
		"trigger": `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.click_id LIKE 'bad%' THEN RAISE 'no' USING ERRCODE = 'MY001'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER refuse BEFORE UPDATE ON commerce.attributed_checkouts
				FOR EACH ROW EXECUTE FUNCTION refuse()`,
		"deferred": `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.click_id LIKE 'bad%' THEN RAISE check_violation; END IF; RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON commerce.attributed_checkouts DEFERRABLE INITIALLY DEFERRED
				FOR EACH ROW EXECUTE FUNCTION refuse()`,
	} {
		t.Run(name, func(t *testing.T) {
			w := base(t)
			w.exec(sql)
			w.produce("clicks", 0, clickOf("bad1", 1, "p", -55), clickOf("0", 1, "p", -54), clickOf("bad2", 2, "p", -3),
				clickOf("00", 2, "p", -1))
			w.read([2]int64{6, 2}, [2]int64{2, 2})
			w.late("click", 0, 2, "bad1", 1, "p", -55)
			w.late("click", 0, 3, "0", 1, "p", -54)
			w.late("click", 0, 4, "bad2", 2, "p", -3)
			w.late("click", 0, 5, "00", 2, "p", -1)
			w.expect(w.verify(), map[string]int64{"Explained": 2})
			if r := w.repair(); r.Moved != 2 || r.Repaired != 4 || r.Refused != 0 {
				t.Errorf("repaired %+v", r)
			}
			for id, want := range map[string]string{"k1": "0 2026-11-23 11:06:00", "k3": "00 2026-11-23 11:59:00"} {
				if got := w.clickOfRow(id); got != want {
					t.Errorf("%s has %s, want %s", id, got, want)
				}
			}
			r := w.verify()
			w.expect(r, map[string]int64{"RefusedClick": 2})
			if r.ExpectedDigest != r.ActualDigest {
				t.Error("the digests differ after repair")
			}
		})
	}
}
