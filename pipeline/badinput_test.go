package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkatest"
)

func click(id string, user any, product, at string) string {
	return fmt.Sprintf(`{"click_id": %q, "user_id": %v, "product_id": %q, "product": "thing", "price": 1.5,
		"url": "u", "user_agent": "a", "ip_address": "i", "datetime_occured": %q}`, id, user, product, at)
}

func checkout(id string, user any, product, amount, at string) string {
	return fmt.Sprintf(`{"checkout_id": %q, "user_id": %v, "product_id": %q, "payment_method": "JCB 16 digit",
		"total_amount": %s, "shipping_address": "s\n1", "billing_address": "b", "user_agent": "a", "ip_address": "i",
			"datetime_occured": %q}`, id, user, product, amount, at)
}

// now is a time on the wire, seconds from the test's start.
func stamp(base time.Time, seconds float64) string {
	return base.Add(time.Duration(seconds * float64(time.Second))).UTC().Format("2006-01-02 15:04:05.000")
}

func values(vs ...string) (out [][]byte) {
	for _, v := range vs {
		if v == "" {
			out = append(out, nil)
			continue
		}
		out = append(out, []byte(v))
	}
	return out
}

// Each bad record is between two good ones. The good ones become rows with their click. The bad one
// becomes a dead letter, or what its rule says.
func TestBadInputHarmsNobody(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	at := stamp(base, 0)
	later := stamp(base, 1)
	cases := []struct{ name, topic, value, reason string }{
		{"empty", "clicks", "", "empty"},
		{"broken", "clicks", `{"click_id": "x", `, "json"},
		{"array", "clicks", `[1]`, "shape"},
		{"no id", "clicks", `{"user_id": 1, "product_id": "p", "datetime_occured": "` + at + `"}`, "click_id"},
		{"null user", "clicks", click("b1", "null", "p", at), "user_id"},
		{"33 bits", "clicks", click("b2", "4294967296", "p", at), "user_id"},
		{"bad time", "clicks", click("b3", 1, "p", "yesterday"), "time"},
		{"NUL", "clicks", strings.Replace(click("b15", 1, "p", at), `"p"`, `"p\u0000"`, 1), "text"},
		{"far future", "clicks", click("b4", 1, "p", "2126-01-01 00:00:00"), "future"},
		{"ancient", "clicks", click("b5", 1, "p", "0001-01-01 00:00:00"), "time"},
		{"invalid UTF-8", "clicks", strings.Replace(click("b6", 1, "p", at), "thing", "th\xffng", 1), "text"},
		{"empty", "checkouts", "", "empty"},
		{"broken", "checkouts", `{]`, "json"},
		{"string", "checkouts", `"a"`, "shape"},
		{"null id", "checkouts", strings.Replace(checkout("b7", 1, "p", "1", at), `"b7"`, "null", 1), "checkout_id"},
		{"bad user", "checkouts", checkout("b8", `"x"`, "p", "1", at), "user_id"},
		{"no time", "checkouts", `{"checkout_id": "b9", "user_id": 1, "product_id": "p"}`, "time"},
		{"far future", "checkouts", checkout("b10", 1, "p", "1", stamp(time.Now(), 3600)), "future"},
		{"NUL", "checkouts", strings.Replace(checkout("b11", 1, "p", "1", at), "JCB", `\u0000`, 1), "text"},
		{"amount the column refuses", "checkouts", checkout("b12", 1, "p", "12345678901.5", at), "refused"},
		{"amount no number", "checkouts", checkout("b13", 1, "p", `"much"`, at), "amount"},
		{"5 MB", "checkouts", checkout("b14", 1, "p", "1", at) + string(bytes.Repeat([]byte(" "), 5<<20)), "too_large"},
	}
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	clicks, checkouts := values(click("c0", 1, "good", at)), [][]byte(nil)
	for i, c := range cases {
		good := fmt.Sprintf("good%d", i)
		clicks = append(clicks, values(click("c"+good, 1, good, at))...)
		if c.topic == "clicks" {
			clicks = append(clicks, values(c.value)...)
		} else {
			checkouts = append(checkouts, values(c.value)...)
		}
		checkouts = append(checkouts, values(checkout("k"+good, `"1"`, good, "12.345", later))...)
	}
	kafkatest.Produce(t, brokers, "clicks", 0, clicks...)
	for _, v := range checkouts { // a 5 MB record goes alone
		kafkatest.Produce(t, brokers, "checkouts", 1, v)
	}
	drain(t, testConfig(t, brokers, dsn))

	for i, c := range cases {
		var reason string
		var size int64
		err := conn.QueryRow(t.Context(), `SELECT reason, payload_size FROM firstclick.dead_letters WHERE topic = $1
			AND (payload = $2 OR ($2 IS NULL AND payload_size = 0) OR (payload IS NULL AND payload_size = $3))`,
			c.topic, values(c.value)[0], len(c.value)).Scan(&reason, &size)
		if err != nil {
			t.Errorf("%s in %s: no dead letter: %v", c.name, c.topic, err)
		} else if reason != c.reason || size != int64(len(c.value)) {
			t.Errorf("%s in %s: dead letter with reason %s and size %d, want %s and %d", c.name, c.topic, reason, size,
				c.reason, len(c.value))
		}
		good := fmt.Sprintf("good%d", i)
		if n := countRows(t, conn, `checkout_id = $1 AND click_id = $2 AND total_amount = 12.35
			AND user_name = 'user-1' AND shipping_address = E's\n1'`,
			"k"+good, "c"+good); n != 1 {
			t.Errorf("the neighbour of %s in %s has no row, or a wrong one", c.name, c.topic)
		}
	}
	if n := countLetters(t, conn, `true`); n != int64(len(cases)) {
		t.Errorf("%d dead letters for %d bad records", n, len(cases))
	}
	if n := countRows(t, conn, `true`); n != int64(len(cases)) {
		t.Errorf("%d rows for %d good checkouts", n, len(cases))
	}
}

// A click whose id is too long for the column of the table is a dead letter. It hides no other
// click: neither when it is read before the checkout, nor when it comes as a correction. It is sent
// again once the column is wider.
func TestAClickThatTheColumnDoesNotHold(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	if _, err := conn.Exec(t.Context(), `CREATE DOMAIN short AS varchar(4); ALTER TABLE commerce.attributed_checkouts
		ALTER click_id TYPE short`); err != nil {
		t.Fatal(err)
	}
	want := func(k, click string) {
		t.Helper()
		if n := countRows(t, conn, `checkout_id = $1 AND click_id = $2`, k, click); n != 1 {
			t.Errorf("checkout %s has not the one row with click %s", k, click)
		}
	}
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("long1", 1, "p", stamp(base, 0)),
		click("c3", 1, "p", stamp(base, 3)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k1", 1, "p", "1", stamp(base, 9)))...)
	drain(t, testConfig(t, brokers, dsn))
	want("k1", "c3")
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("long2", 1, "p", stamp(base, 1)),
		click("éééé", 1, "p", stamp(base, 2)))...)
	drain(t, testConfig(t, brokers, dsn))
	want("k1", "éééé")
	if n := countLetters(t, conn, `topic = 'clicks' AND reason = 'refused'
		AND detail LIKE 'click_id has 5 characters%'`); n != 2 {
		t.Errorf("%d dead letters", n)
	}
	if _, err := conn.Exec(t.Context(), `ALTER TABLE commerce.attributed_checkouts
		ALTER click_id TYPE varchar`); err != nil {
		t.Fatal(err)
	}
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("long1", 1, "p", stamp(base, 0)))...)
	drain(t, testConfig(t, brokers, dsn))
	want("k1", "long1")
}

func TestOneRowPerCheckoutID(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	at, later := stamp(base, 0), stamp(base, 1)
	brokers := kafkatest.Fake(t, 2, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c1", 1, "p", at), click("c1", 1, "p", at),
		click("c2", 2, "p", at))...)
	same := checkout("same", 1, "p", "5.5", later)
	kafkatest.Produce(t, brokers, "checkouts", 0,
		values(same, same, checkout("other", 1, "p", "5.5", later), checkout("other", 2, "q", "7", later),
			checkout("both", 1, "p", "1", later))...)
	kafkatest.Produce(t, brokers, "checkouts", 1,
		values(strings.ReplaceAll(same, "5.5", "5.500"), checkout("both", 2, "q", "2", later),
			checkout("alone", 2, "p", "2", later))...)
	stats := drain(t, testConfig(t, brokers, dsn))
	if r := stats.Result; r.Fresh != 4 || r.Duplicates != 2 || r.Conflicts != 2 {
		t.Errorf("fresh %d, duplicates %d, conflicts %d; want 4, 2, 2", r.Fresh, r.Duplicates, r.Conflicts)
	}
	if n := countLetters(t, conn, `reason = 'conflict'`); n != 2 {
		t.Errorf("%d dead letters for conflicts, want 2", n)
	}
	for id, click := range map[string]string{"same": "c1", "other": "c1", "alone": "c2"} {
		if n := countRows(t, conn, `checkout_id = $1 AND click_id = $2`, id, click); n != 1 {
			t.Errorf("checkout %s has not the one row with click %s", id, click)
		}
	}
	// "other" was rejected: a click that only its record would take must not move the row of the
	// first record.
	kafkatest.Produce(t, brokers, "clicks", 1, values(click("c0", 2, "q", at))...)
	drain(t, testConfig(t, brokers, dsn))
	if n := countRows(t, conn, `checkout_id = 'other' AND click_id = 'c1'`); n != 1 {
		t.Errorf("the click of a rejected twin moved the row that stands")
	}
}

func TestAbortedTransactionsAndMarkersCount(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute)
	at, later := stamp(base, 0), stamp(base, 1)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	produce := func(id string, commit kgo.TransactionEndTry, topic, value string) {
		cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID(id))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	produce("a", kgo.TryAbort, "clicks", click("aborted", 1, "p", at))
	produce("b", kgo.TryCommit, "clicks", click("committed", 1, "p", later))
	produce("c", kgo.TryAbort, "clicks", "{poison")
	produce("d", kgo.TryCommit, "checkouts", checkout("k", 1, "p", "1", later))
	produce("e", kgo.TryAbort, "checkouts", checkout("never", 1, "p", "1", later))
	drain(t, testConfig(t, brokers, dsn))
	if n := countRows(t, conn, `checkout_id = 'k' AND click_id = 'committed'`); n != 1 {
		t.Errorf("no row with the committed click")
	}
	if n := countRows(t, conn, `true`) + countLetters(t, conn, `true`); n != 1 {
		t.Errorf("%d rows and dead letters, want 1", n)
	}
	if n := count(t, conn, `SELECT next_offset FROM firstclick.offsets`); n != 4 {
		t.Errorf("next offset %d; with markers it is 4", n)
	}
}
