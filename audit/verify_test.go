package audit

import (
	"strings"
	"testing"
)

// base is a world in which everything is as it should be: clicks a (11:10) and b (11:20) of user 1
// on p, z (11:00) of user 3 on q, and checkouts
//
//	k1 12:00 user 1 p -> a
//	k2 12:15 user 1 p -> b (a is too old)
//	k3 12:00 user 2 p -> none
//	k4 12:00 user 3 q -> z, at the window's very beginning
//
// k1 and k3 are in partition 0 (offsets 0, 1), k2 and k4 in partition 1. User 3 does not exist.
func base(t *testing.T) *world {
	w := newWorld(t)
	w.produce("clicks", 0, clickOf("b", 1, "p", -40), clickOf("z", 3, "q", -60))
	w.produce("clicks", 1, clickOf("a", 1, "p", -50), clickOf("a2", 1, "p", -50))
	w.produce("checkouts", 0, checkoutOf("k1", 1, "p", 0), checkoutOf("k3", 2, "p", 0))
	w.produce("checkouts", 1, checkoutOf("k2", 1, "p", 15), checkoutOf("k4", 3, "q", 0))
	w.exec(`INSERT INTO commerce.users VALUES (1, 'ann', 'x'), (2, 'bob', 'x')`)
	w.row("k1", "ann", "p", 0, "a", -50)
	w.row("k2", "ann", "p", 15, "b", -40)
	w.row("k3", "bob", "p", 0, "", 0)
	w.row("k4", "", "q", 0, "z", -60)
	w.begun([2]int64{2, 2}, [2]int64{2, 2})
	return w
}

// read says that the pipeline has read this far.
func (w *world) read(clicks, checkouts [2]int64) {
	w.t.Helper()
	w.exec(`UPDATE firstclick.offsets SET clicks_next = $1, next_offset = CASE partition WHEN 0 THEN $2::bigint
		ELSE $3::bigint END`, clicks[:], checkouts[0], checkouts[1])
}

func TestVerify(t *testing.T) {
	type counts = map[string]int64
	const update = `UPDATE commerce.attributed_checkouts SET `
	for _, c := range []struct {
		name string
		with func(w *world)
		want counts
	}{
		{"all is well", func(*world) {}, counts{"Clicks": 4, "Checkouts": 4, "Rows": 4, "Attributed": 3,
			"Unattributed": 1}},
		{"missing", func(w *world) {
			w.exec(`DELETE FROM commerce.attributed_checkouts
			WHERE checkout_id IN ('k1', 'k2')`)
		}, counts{"Missing": 2}},
		{"extra", func(w *world) { w.row("k9", "ann", "p", 0, "a", -50) }, counts{"Extra": 1, "Rows": 5}},
		{"later click", func(w *world) { w.exec(update + `click_id = 'a2' WHERE checkout_id = 'k1'`) },
			counts{"Different": 1}},
		{"click of the right id at another time", func(w *world) {
			w.exec(update + `click_time = click_time + interval '1 microsecond' WHERE checkout_id = 'k1'`)
		}, counts{"Different": 1}},
		{"false NULL", func(w *world) {
			w.exec(update + `click_id = NULL, click_time = NULL WHERE checkout_id = 'k4'`)
		}, counts{"Different": 1}},
		{"a click that no record holds", func(w *world) {
			w.exec(update + `click_id = 'A', click_time = checkout_time WHERE checkout_id = 'k3'`)
		}, counts{"Different": 1}},
		{"a click before the window", func(w *world) {
			w.exec(update + `click_id = 'a', click_time = checkout_time - interval '65 minutes'
				WHERE checkout_id = 'k2'`)
		}, counts{"Different": 1}},
		{"click without time", func(w *world) { w.exec(update + `click_time = NULL WHERE checkout_id = 'k1'`) },
			counts{"Different": 1}},
		{"own column", func(w *world) { w.exec(update + `ip_address = '10.0.0.2' WHERE checkout_id = 'k1'`) },
			counts{"Different": 1}},
		{"own column NULL", func(w *world) {
			w.exec(update + `ip_address = NULL, total_amount = NULL WHERE checkout_id = 'k1'`)
		}, counts{"Different": 1}},
		{"amount", func(w *world) { w.exec(update + `total_amount = 12.34 WHERE checkout_id = 'k1'`) },
			counts{"Different": 1}},
		{"amount in a narrower column", func(w *world) {
			w.exec(`ALTER TABLE commerce.attributed_checkouts
				ALTER total_amount TYPE decimal(5,1)`) // rounds 12.35 again
			w.exec(update + `total_amount = 12.3`)
		}, counts{}},
		{"times in a coarser column", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0.00001)) // 0.6 ms
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.row("k5", "", "p", 0.00001, "", 0)
			w.exec(`ALTER TABLE commerce.attributed_checkouts ALTER checkout_time TYPE timestamp(3)`)
		}, counts{}},
		{"checkout time", func(w *world) {
			w.exec(update + `checkout_time = checkout_time + interval '1 ms' WHERE checkout_id = 'k3'`)
		}, counts{"Different": 1}},
		{"users with ids beyond 32 bits", func(w *world) {
			w.exec(`ALTER TABLE commerce.users ALTER id TYPE bigint`)
			w.exec(`INSERT INTO commerce.users
				VALUES (5000000000, 'far', 'x'), (-5000000000, 'farther', 'x'), (4294967299, 'three, cut to 32 bits',
				'x')`)
			w.cfg.Names = true
		}, counts{"Rows": 4}},
		{"a user without a name", func(w *world) {
			w.exec(`ALTER TABLE commerce.users ALTER username DROP NOT NULL`)
			w.exec(`INSERT INTO commerce.users VALUES (3, NULL, 'x')`)
		}, counts{"Rows": 4}},
		{"names of a type that pads", func(w *world) {
			w.exec(`ALTER TABLE commerce.users ALTER username TYPE char(5)`)
			w.exec(update + `user_name = rpad(user_name, 5)`)
			w.cfg.Names = true
		}, counts{"Rows": 4}},
		{"no table of users", func(w *world) { w.exec(`DROP TABLE commerce.users`) }, counts{"Rows": 4}},
		{"name of a user that exists", func(w *world) { w.exec(update + `user_name = NULL WHERE checkout_id = 'k1'`) },
			counts{"Unfilled": 1}},
		{"name noted just now", func(w *world) {
			w.exec(update + `user_name = NULL WHERE checkout_id = 'k1'`)
			w.exec(`INSERT INTO firstclick.unknown_users VALUES (1, 'k1')`)
		}, counts{"PendingRows": 1}},
		{"name noted long ago, nobody runs", func(w *world) {
			w.exec(update + `user_name = NULL WHERE checkout_id = 'k1'`)
			w.exec(`INSERT INTO firstclick.unknown_users VALUES (1, 'k1', now() - interval '1 hour')`)
		}, counts{"PendingRows": 1}},
		{"name noted long ago and not filled in", func(w *world) {
			w.exec(update + `user_name = NULL WHERE checkout_id = 'k1'`)
			w.exec(`INSERT INTO firstclick.unknown_users VALUES (1, 'k1', now() - interval '1 hour')`)
			w.exec(`INSERT INTO firstclick.instances (instance, group_id, host, pid, version)
				VALUES ('i', 'g', 'h', 1, 'v')`)
		}, counts{"Unfilled": 1}},
		{"an old name", func(w *world) { w.exec(`UPDATE commerce.users SET username = 'eve'`) }, counts{}},
		{"an old name where names do not change", func(w *world) {
			w.cfg.Names = true
			w.exec(`UPDATE commerce.users SET username = 'eve'`)
		}, counts{"Different": 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			r := w.verify()
			w.expect(r, c.want)
			if same := r.ExpectedDigest == r.ActualDigest; same && c.want["Missing"]+c.want["Extra"] > 0 {
				t.Errorf("the digests are equal: %s", r.ActualDigest)
			}
		})
	}
}

func TestVerifyPending(t *testing.T) {
	type counts = map[string]int64
	for _, c := range []struct {
		name string
		with func(w *world)
		want counts
	}{
		{"checkouts not yet read", func(w *world) { w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 0)) },
			counts{"PendingCheckouts": 1}},
		{"garbage not yet read", func(w *world) { w.produce("checkouts", 1, "{") }, counts{"PendingCheckouts": 1}},
		{"a click not yet read that will move a row", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
		}, counts{"PendingClicks": 1, "PendingRows": 1}},
		{"a click not yet read that moved a row", func(w *world) { // another shard has read it
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = '0', click_time = $1::text::timestamp
				WHERE checkout_id = 'k1'`, at(-55))
		}, counts{"PendingClicks": 1}},
		{"two clicks not yet read, of which one moved a row", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 1, "p", -55), clickOf("1", 1, "p", -56))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = '0', click_time = $1::text::timestamp
				WHERE checkout_id = 'k1'`, at(-55))
		}, counts{"PendingClicks": 2, "PendingRows": 1}},
		{"a pending click excuses no later one", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'a2' WHERE checkout_id = 'k1'`)
		}, counts{"PendingClicks": 1, "Different": 1}},
		{"a click that the checkout's shard has not read", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
			w.exec(`UPDATE firstclick.offsets SET clicks_next = '{3,2}' WHERE partition = 1`)
		}, counts{"PendingClicks": 1, "PendingRows": 1}},
		{"a click that another shard has not read", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 1, "p", -55))
			w.exec(`UPDATE firstclick.offsets SET clicks_next = '{3,2}' WHERE partition = 0`)
		}, counts{"PendingClicks": 1, "Different": 1}},
		{"a dead letter that one shard has passed", func(w *world) {
			w.produce("clicks", 0, "{")
			w.exec(`UPDATE firstclick.offsets SET clicks_next = '{3,2}' WHERE partition = 0`)
		}, counts{"PendingClicks": 1, "DeadLettersMissing": 1}},
		{"a table of NULLs beside a shard that stands still", func(w *world) {
			w.exec(`UPDATE firstclick.offsets SET clicks_next = '{0,0}', next_offset = 0 WHERE partition = 1`)
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL`)
		}, counts{"PendingClicks": 4, "PendingCheckouts": 2, "PendingRows": 2, "Different": 1}},
		{"another job's row that is not read so far", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 1, "p", 0))
			w.row("k5", "ann", "p", 0, "b", -40)
		}, counts{"PendingCheckouts": 1, "PendingRows": 1}},
		{"a clicks partition that no shard knows",
			func(w *world) { w.exec(`UPDATE firstclick.offsets SET clicks_next = '{2}'`) }, counts{"PendingClicks": 2}},
		{"a group that has not begun", func(w *world) {
			w.exec(`DELETE FROM firstclick.progress; `)
			w.exec(`DELETE FROM firstclick.offsets`)
			w.exec(`DELETE FROM commerce.attributed_checkouts`)
		}, counts{"PendingClicks": 4, "PendingCheckouts": 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			w.expect(w.verify(), c.want)
		})
	}
}

func TestVerifyExplained(t *testing.T) {
	type counts = map[string]int64
	// 0 (11:05) is recorded late: k1 may have it or not.
	lateClick := func(w *world) {
		w.produce("clicks", 0, clickOf("0", 1, "p", -55))
		w.read([2]int64{3, 2}, [2]int64{2, 2})
		w.late("click", 0, 2, "0", 1, "p", -55)
	}
	set := func(w *world, id, click string, minutes float64) {
		w.exec(`UPDATE commerce.attributed_checkouts SET click_id = $2, click_time = $3::text::timestamp
			WHERE checkout_id = $1`, id, click, at(minutes))
	}
	for _, c := range []struct {
		name string
		with func(w *world)
		want counts
	}{
		{"not joined", lateClick, counts{"Explained": 1}},
		{"joined", func(w *world) { lateClick(w); set(w, "k1", "0", -55) }, counts{}},
		{"repaired, says the table", func(w *world) {
			lateClick(w)
			w.exec(`UPDATE firstclick.late SET repaired_at = now()`)
		}, counts{"Different": 1}},
		{"a late click excuses no worse one", func(w *world) { lateClick(w); set(w, "k1", "a2", -50) },
			counts{"Different": 1}},
		{"a late click of somebody else explains nothing", func(w *world) {
			w.produce("clicks", 0, clickOf("0", 2, "x", -55))
			w.read([2]int64{3, 2}, [2]int64{2, 2})
			w.late("click", 0, 2, "0", 2, "x", -55)
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k1'`)
		}, counts{"Different": 1}},
		{"one of two late clicks joined", func(w *world) {
			lateClick(w)
			w.produce("clicks", 0, clickOf("1", 1, "p", -54))
			w.read([2]int64{4, 2}, [2]int64{2, 2})
			w.late("click", 0, 3, "1", 1, "p", -54)
			set(w, "k1", "1", -54)
		}, counts{"Explained": 1}},
		{"an invented click between", func(w *world) { lateClick(w); set(w, "k1", "?", -54) }, counts{"Different": 1}},
		{"late checkout with no click", func(w *world) {
			w.late("checkout", 0, 0, "k1", 1, "p", 0)
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k1'`)
		}, counts{"Explained": 1}},
		{"late checkout with a later click", func(w *world) {
			w.late("checkout", 0, 0, "k1", 1, "p", 0)
			set(w, "k1", "b", -40)
		}, counts{"Explained": 1}},
		{"late checkout with an invented click", func(w *world) {
			w.late("checkout", 0, 0, "k1", 1, "p", 0)
			set(w, "k1", "?", -40)
		}, counts{"Different": 1}},
		{"late checkout with no row", func(w *world) {
			w.late("checkout", 0, 0, "k1", 1, "p", 0)
			w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
		}, counts{"Missing": 1}},
		{"late and pending: pending says more", func(w *world) {
			lateClick(w)
			set(w, "k1", "0", -55)
			w.produce("clicks", 1, clickOf("00", 1, "p", -56))
		}, counts{"PendingRows": 1, "PendingClicks": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			w.expect(w.verify(), c.want)
		})
	}
}

// A row under the id of a record that became a dead letter is extra, but not for want of a record:
// an old job's row, say, with other content.
func TestVerifySaysWhyARowIsExtra(t *testing.T) {
	w := base(t)
	w.exec(`UPDATE commerce.attributed_checkouts SET total_amount = 99 WHERE checkout_id = 'k1'`)
	w.dead("checkouts", 0, 0, "conflict", "open")
	w.row("k9", "ann", "p", 0, "a", -50)
	r := w.verify()
	w.expect(r, map[string]int64{"Extra": 2})
	for _, e := range r.Examples {
		want := map[string]string{"k1": "every record", "k9": "no record"}[e.CheckoutID]
		if want == "" || !strings.Contains(e.Expected, want) {
			t.Errorf("%s: %s", e.CheckoutID, e.Expected)
		}
	}
}
