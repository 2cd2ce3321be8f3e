package sink

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"firstclick/join/event"
)

// A transaction that holds no row is fenced as every other: its shard went elsewhere while it was
// frozen.
func TestEveryKindOfCommitIsFenced(t *testing.T) {
	cases := []struct {
		name string
		fill func(b *Batch)
	}{
		{"positions only", func(*Batch) {}},
		{"corrections only", func(b *Batch) {
			b.Corrections = []event.Correction{{Checkout: idOf("a"), Click: idOf("c"), ClickTime: noon}}
		}},
		{"dead letters only", func(b *Batch) {
			b.Dead = []DeadLetter{{Topic: checkouts, Offset: 1, Reason: event.ReasonEmpty}}
		}},
		{"late events only", func(b *Batch) {
			b.Late = []Late{{Topic: "clicks", Offset: 1, Kind: LateClick, EventID: "c", User: 1, Product: "p-1",
				Time: noon}}
		}},
		{"rows", func(b *Batch) { b.Rows = []event.Released{row(1, checkout("b"))} }},
		{"a duplicate", func(b *Batch) { b.Rows = []event.Released{clicked(row(1, checkout("a")), "c", noon)} }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			old := b.claim(b.sink, 0)
			old.Rows = []event.Released{row(0, checkout("a"))}
			b.commit(b.sink, old)
			old.Position.NextOffset = 7
			c.fill(old)

			taken := b.claim(b.open(b.dsn, "firstclick-b", b.names), 0)
			_, err := b.sink.Commit(t.Context(), []*Batch{old})
			var lost *LostShardsError
			if !errors.As(err, &lost) || !slices.Equal(lost.Fenced, []int32{0}) || lost.Committed {
				t.Fatal(err)
			}
			b.expect("a|-", `SELECT checkout_id, click_id FROM commerce.attributed_checkouts`)
			b.expect("0|0", `SELECT (SELECT count(*) FROM firstclick.dead_letters), (SELECT count(*)
				FROM firstclick.late)`)
			b.expect("1|0", `SELECT commits, next_offset FROM firstclick.offsets`)
			if taken.Claim.Commits != 1 {
				t.Errorf("the new owner's claim is %+v", taken.Claim)
			}
		})
	}
}

// raising lets the first n inserts of rows fail with an SQLSTATE. A sequence keeps count, for it is
// not rolled back.
const raising = `CREATE SEQUENCE public.tries;
	CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('public.tries') <= 3 THEN RAISE EXCEPTION 'no' USING ERRCODE = 'STATE'; END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER fail BEFORE INSERT ON commerce.attributed_checkouts FOR EACH ROW EXECUTE FUNCTION public.fail()`

// What passes in Postgres is tried again until it has passed, is counted by its cause, said once
// when it begins and once when it is over.
func TestWhatPassesIsTriedAgain(t *testing.T) {
	cases := []struct{ name, state, cause string }{
		{"serialization failure", "40001", causeConflict},
		{"deadlock", "40P01", causeConflict},
		{"lock timeout", "55P03", causeTimeout},
		{"statement timeout", "57014", causeTimeout},
		{"disk full", "53100", causeResources},
		{"out of memory", "53200", causeResources},
		{"too many connections", "53300", causeResources},
		{"read-only standby", "25006", causeReadOnly},
		{"I/O error", "58030", causeIO},
		{"the server shuts down", "57P01", causeConnection},
		{"the connection failed", "08006", causeConnection},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			batch := b.claim(b.sink, 0)
			b.exec(strings.Replace(raising, "STATE", c.state, 1))
			batch.Rows = []event.Released{row(0, checkout("a"))}
			if res := b.commit(b.sink, batch); res.Fresh != 1 || res.Refused != 0 {
				t.Errorf("%+v", res)
			}
			b.expect("a", `SELECT checkout_id FROM commerce.attributed_checkouts`)
			if got := b.sink.Stats(); got.Retries[c.cause] != 3 || got.LastError != "" {
				t.Errorf("stats %+v", got)
			}
			if n := strings.Count(b.log.String(), "retrying"); n != 1 {
				t.Errorf("said %d times:\n%s", n, b.log)
			}
			if over := strings.Contains(b.log.String(), "Postgres takes it again"); over != (c.cause != causeConflict) {
				t.Errorf("the end was said: %v\n%s", over, b.log)
			}
		})
	}
}

// What the server, the database or the role sets bounds no statement of ours: a transaction that is
// cut off each time never gets done.
func TestTimeoutsAndLimitsOfTheServer(t *testing.T) {
	for _, setting := range []string{"lock_timeout = '50ms'", "statement_timeout = '150ms'",
		"idle_in_transaction_session_timeout = '50ms'"} {
		name, _, _ := strings.Cut(setting, " ")
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			batch := b.claim(b.sink, 0)
			b.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ` + strings.ReplaceAll(setting, "'", "''") +
				`', current_database()); END $$`)
			s := b.open(b.dsn, "firstclick-a", b.names)
			tx, err := b.db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `LOCK TABLE commerce.attributed_checkouts`); err != nil {
				t.Fatal(err)
			}
			batch.Rows = []event.Released{row(0, checkout("a"))}
			ended := aside(t.Context(), s, batch)
			watcher := b.connect("another watcher") // the transaction sees one moment
			eventually(t, "a long wait", func() (waits bool) {
				if err := watcher.QueryRow(t.Context(),
					`SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'firstclick-a'
						AND wait_event_type = 'Lock'
					AND now() - state_change > interval '200 milliseconds'`).Scan(&waits); err != nil {
					t.Fatal(err)
				}
				return waits
			})
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := <-ended; d.err != nil {
				t.Fatal(d.err)
			}
			if got := s.Stats().Retries; len(got) > 0 {
				t.Errorf("tried again: %v", got)
			}
			b.expect("a", `SELECT checkout_id FROM commerce.attributed_checkouts`)
		})
	}
	t.Run("too many connections", func(t *testing.T) {
		b := newBench(t)
		name := pgx.Identifier{b.db.Config().Database}.Sanitize()
		role := pgx.Identifier{"few-" + b.db.Config().Database}.Sanitize()
		b.exec(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'x' CONNECTION LIMIT 0; GRANT USAGE ON SCHEMA commerce,
			firstclick TO ` + role + `;
			GRANT ALL ON ALL TABLES IN SCHEMA commerce, firstclick TO ` + role + `;
			GRANT TEMPORARY ON DATABASE ` + name + ` TO ` + role)
		t.Cleanup(func() { _, _ = b.db.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role) })
		cfg, err := pgx.ParseConfig(b.dsn)
		if err != nil {
			t.Fatal(err)
		}
		few := url.URL{Scheme: "postgres", User: url.UserPassword("few-"+cfg.Database, "x"),
			Host: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))),
			Path: cfg.Database, RawQuery: "sslmode=disable"}
		s := b.open(few.String(), "firstclick-few", b.names)
		done := make(chan error, 1)
		go func() {
			_, err := s.Claim(t.Context(), testGroup, checkouts, 0, State{Position: noPosition()})
			done <- err
		}()
		eventually(t, "tries without a connection", func() bool { return s.Stats().Retries[causeResources] >= 2 })
		b.exec(`ALTER ROLE ` + role + ` CONNECTION LIMIT -1`)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// eventually asks again and again until it is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !is() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}
