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

// refusers are ways in which Postgres refuses clicks whose ids begin with "bad".
var refusers = map[string]string{
	"a check": `ALTER TABLE commerce.attributed_checkouts ADD CONSTRAINT good CHECK (click_id NOT LIKE 'bad%')`,
	"a trigger that raises": `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'MY001'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON commerce.attributed_checkouts FOR EACH ROW
			EXECUTE FUNCTION refuse()`,
	"a trigger that keeps rows out": `CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN RETURN NULL; END IF; RETURN NEW; END $$;
		CREATE TRIGGER keep_out BEFORE INSERT OR UPDATE ON commerce.attributed_checkouts FOR EACH ROW
			EXECUTE FUNCTION keep_out()`,
	"a foreign key": `CREATE TABLE known (click_id varchar PRIMARY KEY);
		INSERT INTO known SELECT 'good' || n FROM generate_series(0, 99) n;
		ALTER TABLE commerce.attributed_checkouts ADD FOREIGN KEY (click_id) REFERENCES known`,
	"a deferred constraint": `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN RAISE check_violation; END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON commerce.attributed_checkouts
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`,
	"a domain": `CREATE DOMAIN good AS varchar CHECK (VALUE NOT LIKE 'bad%');
		ALTER TABLE commerce.attributed_checkouts ALTER click_id TYPE good`,
}

// lift takes away whatever refuses clicks.
const lift = `ALTER TABLE commerce.attributed_checkouts ALTER click_id TYPE varchar;
	ALTER TABLE commerce.attributed_checkouts DROP CONSTRAINT IF EXISTS good,
		DROP CONSTRAINT IF EXISTS attributed_checkouts_click_id_fkey;
	DROP TRIGGER IF EXISTS refuse ON commerce.attributed_checkouts;
		DROP TRIGGER IF EXISTS keep_out ON commerce.attributed_checkouts`

// A click that Postgres refuses in a row hides no other click: neither when it is read before the
// checkout, nor when it comes as a correction, nor when the next click is later than it and earlier
// than that of the row. A restart gives the same rows.
func TestARefusedClickHidesNoOther(t *testing.T) {
	for name, sql := range refusers {
		t.Run(name, func(t *testing.T) {
			base := time.Now().Add(-10 * time.Minute)
			brokers := kafkatest.Fake(t, 1, "clicks", "checkouts")
			dsn, conn := prepare(t, 10)
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
			clicks := func(list ...string) { kafkatest.Produce(t, brokers, "clicks", 0, values(list...)...) }
			has := func(k, click string) bool {
				return countRows(t, conn, `checkout_id = $1 AND click_id IS NOT DISTINCT
					FROM nullif($2, '')`, k, click) == 1
			}
			clicks(click("bad1", 1, "p", stamp(base, 1)), click("bad2", 1, "p", stamp(base, 2)),
				click("good20", 1, "p", stamp(base, 20)), click("bad3", 2, "p", stamp(base, 1)))
			kafkatest.Produce(t, brokers, "checkouts", 0,
				values(checkout("k1", 1, "p", "1", stamp(base, 30)), checkout("k2", 2, "p", "1", stamp(base, 30)),
					checkout("k3", 3, "p", "1", stamp(base, 30)))...)
			w := begin(t, testConfig(t, brokers, dsn))
			eventually(t, "the first rows", func() bool {
				return has("k1", "good20") && has("k2", "") &&
					has("k3", "")
			})
			clicks(click("good15", 1, "p", stamp(base, 15)), click("good16", 2, "p", stamp(base, 16)))
			eventually(t, "a correction later than what was refused",
				func() bool { return has("k1", "good15") && has("k2", "good16") })
			clicks(click("bad4", 1, "p", stamp(base, 0)), click("good10", 1, "p", stamp(base, 10)),
				click("bad5", 3, "p", stamp(base, 5)), click("good6", 3, "p", stamp(base, 6)))
			eventually(t, "a correction behind a refused one",
				func() bool { return has("k1", "good10") && has("k3", "good6") })
			eventually(t, "the end", w.caughtUp)
			w.end()
			clicks(click("good5", 1, "p", stamp(base, 5)))
			drain(t, testConfig(t, brokers, dsn))
			for k, click := range map[string]string{"k1": "good5", "k2": "good16", "k3": "good6"} {
				if !has(k, click) {
					t.Errorf("%s has not click %s after a restart", k, click)
				}
			}
			if n := countLetters(t, conn, `topic = 'checkouts' AND reason = 'refused_click'
				AND detail LIKE 'click "bad_" at %'`); n != 3 {
				t.Errorf("%d dead letters tell of refused clicks, want 3", n)
			}
			if n := countLetters(t, conn, `true`); n != 3 {
				t.Errorf("%d dead letters", n)
			}
			verified := func() *audit.Report {
				t.Helper()
				r, err := audit.Verify(t.Context(), audit.Config{Kafka: kafkaconn.Config{Brokers: brokers},
					Database: dsn, ClicksTopic: "clicks",
					CheckoutsTopic: "checkouts", Group: "firstclick", TempDir: t.TempDir(),
					Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			if r := verified(); r.Verdict != audit.VerdictGreen || r.RefusedClick != 3 || r.Judged != 3 ||
				r.ExpectedDigest != r.ActualDigest {
				t.Errorf("verify: %+v", *r)
			}
			// A row with a later click than the right one is wrong although the checkout has a dead
			// letter, if the table would take the right one.
			exec(t, conn, `UPDATE commerce.attributed_checkouts
				SET click_id = 'good15', click_time = click_time + interval '10 s' WHERE checkout_id = 'k1'`)
			if r := verified(); (name == "a check" || name == "a domain") && (r.Different != 1 || r.RefusedClick != 2) {
				t.Errorf("verify of a wrong row: %+v", *r)
			}
			exec(t, conn, lift)
			if r := verified(); r.Different != 3 {
				t.Errorf("verify once Postgres takes the clicks: %+v", *r)
			}
			store, err := deadletters.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close(t.Context())
			if done, err := store.Retry(t.Context(), deadletters.Retry{Kafka: kafkaconn.Config{Brokers: brokers},
				Filter: deadletters.Filter{Reasons: []string{"refused_click"}}}); err != nil || done.Sent != 3 {
				t.Fatalf("retry: %+v, %v", done, err)
			}
			drain(t, testConfig(t, brokers, dsn))
			for k, click := range map[string]string{"k1": "bad4", "k2": "bad3", "k3": "bad5"} {
				if !has(k, click) {
					t.Errorf("%s has not click %s after the retry", k, click)
				}
			}
			if r := verified(); r.Verdict != audit.VerdictGreen || r.RefusedClick != 0 {
				t.Errorf("verify after the retry: %+v", *r)
			}
		})
	}
}
