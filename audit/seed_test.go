package audit

import (
	"os"
	"testing"
)

// seeded is a world with the real events, spread over two partitions each, and the rows that SQL
// written by hand gives for them. Each of them has a click, so a test may take every n-th click
// only.
func seeded(t *testing.T, every int) *world {
	w := newWorld(t)
	w.cfg.SortMemory = 20_000
	w.exec(`INSERT INTO commerce.users SELECT i, 'user ' || i, 'x' FROM generate_series(0, 99) i`)
	for _, topic := range []string{"clicks", "checkouts"} {
		w.exec(`CREATE TABLE seed_` + topic + ` (value jsonb)`)
		var values [2][]string
		var all []string
		for i, line := range seedLines(t, topic) {
			if topic == "clicks" && i%every != 0 {
				continue
			}
			values[i%2] = append(values[i%2], string(line))
			all = append(all, string(line))
		}
		for p, v := range values {
			w.produce(topic, int32(p), v...)
		}
		w.exec(`INSERT INTO seed_`+topic+` SELECT unnest($1::text[])::jsonb`, all)
	}
	// Without a hash join's help the lateral subquery would look at two million pairs.
	w.exec(`CREATE INDEX ON seed_clicks ((value ->> 'user_id'), (value ->> 'product_id'))`)
	answer, err := os.ReadFile("../testdata/expected.sql")
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO commerce.attributed_checkouts
		(checkout_id, user_name, click_id, product_id, payment_method, total_amount, shipping_address,
		 billing_address, user_agent, ip_address, checkout_time, click_time)
		` + string(answer))
	w.begun([2]int64{2000, 2000}, [2]int64{2000, 2000})
	return w
}

func TestVerifyRealEvents(t *testing.T) {
	w := seeded(t, 1)
	w.cfg.Names = true
	r := w.verify()
	w.expect(r, map[string]int64{"Clicks": 2060, "Checkouts": 1060, "Rows": 1060, "Attributed": 1060, "Duplicates": 0})
	if r.ExpectedDigest != r.ActualDigest {
		t.Errorf("digests differ: expected %s, actual %s", r.ExpectedDigest, r.ActualDigest)
	}
	again := w.verify()
	if again.ActualDigest != r.ActualDigest || again.ExpectedDigest != r.ExpectedDigest {
		t.Errorf("a second run gives other digests: %s, %s", again.ExpectedDigest, again.ActualDigest)
	}
	w.exec(`UPDATE commerce.attributed_checkouts SET click_time = click_time + interval '1 ms'
		WHERE checkout_id = (SELECT min(checkout_id) FROM commerce.attributed_checkouts WHERE click_id IS NOT NULL)`)
	r = w.verify()
	w.expect(r, map[string]int64{"Different": 1})
	if r.ExpectedDigest != again.ExpectedDigest || r.ActualDigest == again.ActualDigest {
		t.Errorf("digests: expected %s, actual %s", r.ExpectedDigest, r.ActualDigest)
	}
}

func TestVerifyRealEventsWithoutSomeClicks(t *testing.T) {
	w := seeded(t, 5)
	r := w.verify()
	w.expect(r, map[string]int64{"Clicks": 412, "Checkouts": 1060, "Rows": 1060})
	if r.Unattributed == 0 || r.Attributed == 0 || r.ExpectedDigest != r.ActualDigest {
		t.Errorf("%d rows with a click, %d without, digests %s %s", r.Attributed, r.Unattributed, r.ExpectedDigest,
			r.ActualDigest)
	}
}
