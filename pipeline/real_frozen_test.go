//go:build realkafka

package pipeline_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// gates block a transaction for as long as the test holds the advisory lock: at the first row of a
// COPY, or after the offsets were moved and before anything else is sent.
const gates = `
CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint);
	RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT ON commerce.attributed_checkouts FOR EACH ROW EXECUTE FUNCTION public.gate(1);
CREATE TRIGGER gate BEFORE UPDATE ON firstclick.offsets FOR EACH ROW WHEN (NEW.commits > OLD.commits)
	EXECUTE FUNCTION public.gate(2)`

// An instance is frozen inside a transaction for longer than the session timeout, and another one
// takes its shards over. When the first one goes on, its transaction must not be committed. It logs
// that, rejoins, and works on as a new member without ending.
func TestFrozenInsideATransaction(t *testing.T) {
	bin := binary(t)
	at := time.Now().Add(-10 * time.Minute)
	cases := []struct {
		name    string
		gate    int
		produce func(t *testing.T, w *world)
		there   string // is 1 when what was produced is in Postgres
	}{
		{"in mid COPY", 1, func(t *testing.T, w *world) {
			var rows []string
			for n := range 20_000 { // more than the buffers on the way hold
				rows = append(rows, checkout(fmt.Sprint("copied", n), 1, "q", "1", stamp(at, 3)))
			}
			kafkatest.Produce(t, w.brokers, w.checkouts, 0, values(rows...)...)
		}, `SELECT (count(*) = 20000)::int FROM commerce.attributed_checkouts WHERE checkout_id LIKE 'copied%'`},
		{"before a commit of corrections only", 2, func(t *testing.T, w *world) {
			kafkatest.Produce(t, w.brokers, w.clicks, 0, values(click("earlier", 1, "p", stamp(at, 0)))...)
		}, `SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = 'k' AND click_id = 'earlier'`},
		{"before a commit of dead letters only", 2, func(t *testing.T, w *world) {
			kafkatest.Produce(t, w.brokers, w.clicks, 0, values(`{"broken`)...)
		}, `SELECT count(*) FROM firstclick.dead_letters`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // each waits for the session timeout
			w := newWorld(t, pgtest.New(t), 1, 2)
			exec(t, w.conn, gates)
			one := w.start(bin, "--instance", "one")
			kafkatest.Produce(t, w.brokers, w.clicks, 0, values(click("c", 1, "p", stamp(at, 1)))...)
			kafkatest.Produce(t, w.brokers, w.checkouts, 0, values(checkout("k", 1, "p", "1", stamp(at, 2)))...)
			eventually(t, "the first row", func() bool { one.alive(); _, ok := w.clickOf("k"); return ok })
			eventually(t, "every shard is owned", func() bool { return w.owned("one") == 2 })

			holder := connect(t, w.dsn)
			exec(t, holder, `SELECT pg_advisory_lock($1::bigint)`, c.gate)
			c.produce(t, w)
			const stands = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'one'
				AND datname = current_database()`
			eventually(t, "the instance stands at the gate", func() bool {
				one.alive()
				return count(t, w.conn, stands+` AND wait_event = 'advisory'`) > 0
			})
			if err := one.Pause(); err != nil {
				t.Fatal(err)
			}
			exec(t, holder, `SELECT pg_advisory_unlock($1::bigint)`, c.gate)
			eventually(t, "its session waits inside the transaction", func() bool {
				return count(t, w.conn, stands+` AND xact_start IS NOT NULL AND wait_event = 'ClientRead'`) > 0
			})
			if n := count(t, w.conn, c.there); n != 0 {
				t.Fatalf("it was committed before the instance was frozen")
			}

			two := w.start(bin, "--instance", "two")
			eventually(t, "the other instance has every shard", func() bool { two.alive(); return w.owned("two") == 2 })
			eventually(t, "what was under way, by the other instance",
				func() bool { two.alive(); return count(t, w.conn, c.there) == 1 })
			if err := one.Resume(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the first instance is a member again, and has a shard",
				func() bool { one.alive(); two.alive(); return w.owned("one") == 1 })
			for _, text := range []string{"begin again where Postgres is",
				"another instance owns checkouts partition"} {
				eventually(t, text, func() bool { return one.saidAbout(text) })
			}
			for p := range int32(2) {
				kafkatest.Produce(t, w.brokers, w.checkouts, p,
					values(checkout(fmt.Sprint("after", p), 1, "p", "1", stamp(at, 4)))...)
			}
			eventually(t, "rows of both", func() bool {
				one.alive()
				two.alive()
				return countRows(t, w.conn, `checkout_id LIKE 'after%'`) == 2
			})
			for _, p := range []*program{one, two} {
				if err := p.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				p.done(patience)
			}
			w.verify()
		})
	}
}
