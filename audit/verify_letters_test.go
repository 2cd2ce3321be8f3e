package audit

import (
	"strings"
	"testing"
)

func TestVerifyDeadLetters(t *testing.T) {
	type counts = map[string]int64
	for _, c := range []struct {
		name string
		with func(w *world)
		want counts
	}{
		{"as they should be", func(w *world) {
			w.produce("clicks", 0, "", "{", "[]", clickOf("f", 1, "p", 66))
			w.produce("checkouts", 0, strings.Replace(checkoutOf("k5", 1, "p", 0), `"k5"`, `null`, 1))
			w.read([2]int64{6, 2}, [2]int64{3, 2})
			w.dead("clicks", 0, 2, "empty", "open")
			w.dead("clicks", 0, 3, "json", "retried")
			w.dead("clicks", 0, 4, "shape", "dropped")
			w.dead("clicks", 0, 5, "future", "open")
			w.dead("checkouts", 0, 2, "checkout_id", "open")
		}, counts{}},
		{"an event exactly at the guard", func(w *world) {
			w.produce("clicks", 0, clickOf("f", 1, "p", 65))
			w.read([2]int64{3, 2}, [2]int64{2, 2})
		}, counts{"Clicks": 5}},
		{"missing", func(w *world) {
			w.produce("clicks", 0, "{")
			w.read([2]int64{3, 2}, [2]int64{2, 2})
		}, counts{"DeadLettersMissing": 1}},
		{"another reason", func(w *world) {
			w.produce("clicks", 0, "{")
			w.read([2]int64{3, 2}, [2]int64{2, 2})
			w.dead("clicks", 0, 2, "shape", "open")
		}, counts{"DeadLettersReason": 1}},
		{"of a sound record", func(w *world) { w.dead("clicks", 0, 0, "json", "open") },
			counts{"DeadLettersUnexplained": 1}},
		{"of no record", func(w *world) { w.dead("clicks", 1, 77, "json", "open") },
			counts{"DeadLettersUnexplained": 1}},
		{"of a topic that was there before", func(w *world) {
			w.dead("clicks", 1, 77, "json", "open")
			w.exec(`UPDATE firstclick.dead_letters SET topic_id = '00000000-0000-0000-0000-000000000007'`)
		}, counts{}},
		{"a future event that somebody let in", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 70))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "future", "retried")
			w.row("k5", "", "p", 70, "", 0)
		}, counts{}},
		{"a future event in the table", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 70))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "future", "open")
			w.row("k5", "", "p", 70, "", 0)
		}, counts{"Extra": 1}},
		{"refused, rightly", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0, `,"total_amount":1e40`))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "refused", "open")
		}, counts{}},
		{"refused by a check of the customer's", func(w *world) {
			w.exec(`ALTER TABLE commerce.attributed_checkouts ADD CHECK (product_id <> 'r')`)
			w.produce("checkouts", 0, checkoutOf("k5", 9, "r", 0))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "refused", "open")
		}, counts{}},
		{"refused by a trigger of the customer's", func(w *world) {
			w.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF NEW.product_id = 'r' THEN RAISE 'no' USING ERRCODE = 'MY001'; END IF; RETURN NEW; END $$;
				CREATE TRIGGER refuse BEFORE INSERT ON commerce.attributed_checkouts
					FOR EACH ROW EXECUTE FUNCTION refuse()`)
			w.produce("checkouts", 0, checkoutOf("k5", 9, "r", 0))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "refused", "open")
		}, counts{}},
		{"refused by a foreign key of the customer's", func(w *world) {
			w.exec(`CREATE TABLE product (id varchar PRIMARY KEY);
				ALTER TABLE commerce.attributed_checkouts ADD FOREIGN KEY (product_id) REFERENCES product
					DEFERRABLE INITIALLY DEFERRED NOT VALID`)
			w.produce("checkouts", 0, checkoutOf("k5", 9, "r", 0))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "refused", "open")
		}, counts{}},
		{"refused by another key of the customer's", func(w *world) {
			w.exec(`CREATE UNIQUE INDEX ON commerce.attributed_checkouts ((1)) WHERE product_id::text = 'r'`)
			w.produce("checkouts", 0, checkoutOf("k5", 9, "r", 0))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "refused", "open")
		}, counts{}},
		{"a click that the column does not hold", func(w *world) {
			w.exec(`ALTER TABLE commerce.attributed_checkouts ALTER click_id TYPE varchar(3)`)
			w.produce("clicks", 0, clickOf("long", 9, "p", -2), clickOf("c9", 9, "p", -1))
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0))
			w.read([2]int64{4, 2}, [2]int64{3, 2})
			w.dead("clicks", 0, 2, "refused", "open")
			w.row("k5", "", "p", 0, "c9", -1)
		}, counts{}},
		{"a click that the column holds by now", func(w *world) {
			w.produce("clicks", 0, clickOf("long", 9, "p", -2), clickOf("c9", 9, "p", -1))
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0))
			w.read([2]int64{4, 2}, [2]int64{3, 2})
			w.dead("clicks", 0, 2, "refused", "open")
			w.row("k5", "", "p", 0, "c9", -1)
		}, counts{"DeadLettersUnexplained": 1, "Explained": 1}},
		{"refused for nothing", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
			w.dead("checkouts", 0, 2, "refused", "open")
		}, counts{"DeadLettersUnexplained": 1}},
		{"not refused, and no row", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0, `,"total_amount":1e40`))
			w.read([2]int64{2, 2}, [2]int64{3, 2})
		}, counts{"Missing": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			c.with(w)
			w.expect(w.verify(), c.want)
		})
	}
}

func TestVerifyDuplicates(t *testing.T) {
	type counts = map[string]int64
	other := `,"ip_address":"other"`
	for _, c := range []struct {
		name string
		with func(w *world)
		want counts
	}{
		{"equal ones, as the columns store them", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k1", 1, "p", 0, `,"total_amount":"12.349"`))
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0))
		}, counts{"Duplicates": 2}},
		{"another one, in another partition", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0, other))
			w.dead("checkouts", 1, 2, "conflict", "open")
		}, counts{"Duplicates": 1}},
		{"another one that is no dead letter", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0, other), checkoutOf("k1", 1, "p", 0, other))
		}, counts{"Duplicates": 2, "DeadLettersMissing": 2}},
		{"an equal one that is a dead letter", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0))
			w.dead("checkouts", 1, 2, "conflict", "open")
		}, counts{"Duplicates": 1, "DeadLettersUnexplained": 1}},
		{"the other partition came first", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0, other))
			w.exec(`UPDATE commerce.attributed_checkouts SET ip_address = 'other' WHERE checkout_id = 'k1'`)
			w.dead("checkouts", 0, 0, "conflict", "open")
		}, counts{"Duplicates": 1}},
		{"the second of a partition came first", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k1", 1, "p", 0, other))
			w.exec(`UPDATE commerce.attributed_checkouts SET ip_address = 'other' WHERE checkout_id = 'k1'`)
			w.dead("checkouts", 0, 0, "conflict", "open")
		}, counts{"Duplicates": 1, "Different": 1}},
		{"the first was refused", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k5", 9, "p", 0, `,"total_amount":1e40`), checkoutOf("k5", 9, "p", 0))
			w.dead("checkouts", 0, 2, "refused", "open")
			w.row("k5", "", "p", 0, "", 0)
		}, counts{"Duplicates": 1}},
		{"the same content of two users: the click of either", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 2, "p", 0))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k1'`)
		}, counts{"Duplicates": 1}},
		{"the same content of two users in one partition: the click of either", func(w *world) {
			w.produce("checkouts", 0, checkoutOf("k1", 2, "p", 0), checkoutOf("k1", 1, "p", 0))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k1'`)
		}, counts{"Duplicates": 2}},
		{"the same content of two users: the click of neither", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 2, "p", 0))
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'b', click_time = $1::text::timestamp
				WHERE checkout_id = 'k1'`, at(-40))
		}, counts{"Duplicates": 1, "Different": 1}},
		{"a row of two shards must do for the one that has read more", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0))
			w.exec(`UPDATE firstclick.offsets SET clicks_next = '{0,0}' WHERE partition = 0`)
			w.exec(`UPDATE commerce.attributed_checkouts SET click_id = NULL, click_time = NULL
				WHERE checkout_id = 'k1'`)
		}, counts{"Duplicates": 1, "PendingClicks": 4, "Different": 1}},
		{"a conflict without a row", func(w *world) {
			w.dead("checkouts", 0, 0, "conflict", "open")
			w.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = 'k1'`)
		}, counts{"DeadLettersUnexplained": 1}},
		{"the row is none of them", func(w *world) {
			w.produce("checkouts", 1, checkoutOf("k1", 1, "p", 0, other))
			w.exec(`UPDATE commerce.attributed_checkouts SET ip_address = 'third' WHERE checkout_id = 'k1'`)
		}, counts{"Duplicates": 1, "Different": 1}},
		{"a click twice", func(w *world) { w.produce("clicks", 0, clickOf("a", 1, "p", -50)) }, counts{"Clicks": 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base(t)
			w.read([2]int64{3, 3}, [2]int64{4, 4})
			c.with(w)
			w.expect(w.verify(), c.want)
		})
	}
}
