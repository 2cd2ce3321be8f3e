package pipeline_test

import (
	"log/slog"
	"testing"
	"time"

	"firstclick/audit"
	"firstclick/deadletters"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/kafkatest"
)

// A dead letter is corrected and sent again when the rows that its click would have won are final.
// They do not move, the click is recorded as late, and repair moves them. The table is the same
// however often it is sent.
func TestRetriedDeadLetters(t *testing.T) {
	base := time.Now().Add(-2 * time.Hour)
	brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
	dsn, conn := prepare(t, 10)
	whole := click("c1", 1, "p", stamp(base, 40))
	kafkatest.Produce(t, brokers, "clicks", 0, values(click("c9", 1, "p", stamp(base, 50)), whole[:len(whole)-5],
		click("x", 9, "z", stamp(base, 3000)))...)
	kafkatest.Produce(t, brokers, "checkouts", 0, values(checkout("k", 1, "p", "1", stamp(base, 60)),
		checkout("dear", 1, "p", `"much"`, stamp(base, 61)),
		checkout("later", 1, "q", "1", stamp(base, 3000)))...)
	cfg := testConfig(t, brokers, dsn)
	drain(t, cfg)
	table := func(want int64, has string) {
		t.Helper()
		if n := countRows(t, conn, `true`); n != want {
			t.Errorf("%d rows, want %d", n, want)
		}
		if n := countRows(t, conn, `checkout_id = 'k' AND click_id = $1`, has); n != 1 {
			t.Errorf("the row has not the click %s", has)
		}
	}
	table(2, "c9")

	store, err := deadletters.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context())
	letters, err := store.List(t.Context(), deadletters.Filter{}, 10)
	if err != nil || len(letters) != 2 {
		t.Fatalf("dead letters %+v, %v", letters, err)
	}
	mended := map[string]string{"clicks": whole, "checkouts": checkout("dear", 1, "p", "7.5", stamp(base, 61))}
	retry := func(status deadletters.Status) {
		t.Helper()
		for _, l := range letters {
			done, err := store.Retry(t.Context(), deadletters.Retry{
				Kafka:  kafkaconn.Config{Brokers: brokers},
				Filter: deadletters.Filter{IDs: []int64{l.ID}, Status: status}, Edited: []byte(mended[l.Topic]),
			})
			if err != nil || done.Sent != 1 {
				t.Fatalf("retry of %s: %+v, %v", l.Place(), done, err)
			}
		}
		drain(t, cfg)
	}
	repair := func() *audit.RepairReport {
		t.Helper()
		r, err := audit.Repair(t.Context(), audit.Config{Kafka: kafkaconn.Config{Brokers: brokers}, Database: dsn,
			ClicksTopic: "clicks", CheckoutsTopic: "checkouts",
			Group: "firstclick", TempDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	retry(deadletters.Open)
	table(3, "c9")
	for kind, id := range map[string]string{"click": "c1", "checkout": "dear"} {
		if n := count(t, conn, `SELECT count(*) FROM firstclick.late WHERE kind = $1
			AND event_id = $2`, kind, id); n != 1 {
			t.Errorf("the %s that came again is not recorded as late", kind)
		}
	}
	if r := repair(); r.Moved == 0 || r.Left != 0 {
		t.Errorf("repair: %+v", r)
	}
	table(3, "c1")

	digest := `SELECT hashtext(string_agg(a::text, ',' ORDER BY checkout_id))::bigint
		FROM commerce.attributed_checkouts a`
	before := count(t, conn, digest)
	for range 2 {
		retry(deadletters.Retried)
		if r := repair(); r.Moved != 0 {
			t.Errorf("sent once more, it moved %d rows", r.Moved)
		}
	}
	table(3, "c1")
	if after := count(t, conn, digest); after != before {
		t.Error("the table is another one than before")
	}
	if n := countLetters(t, conn, `status <> 'retried'`); n != 0 {
		t.Errorf("%d dead letters more", n)
	}
}
