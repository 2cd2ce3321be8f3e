package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/join/event"
	"firstclick/migrations"
)

// Rows that the old pipeline's table cannot hold become dead letters; their neighbours land.
func TestRefusedRowsAreFound(t *testing.T) {
	const n = 300
	cases := []struct {
		name   string
		schema string
		spoil  func(k *bought)
		bad    []int
		state  string
	}{
		{"amount, few", `ALTER TABLE commerce.attributed_checkouts ALTER total_amount TYPE numeric(5,2)`,
			func(k *bought) { k.Amount = text("1000") }, []int{0, 17, 18, 150, n - 1}, "22003"},
		{"amount, all", `ALTER TABLE commerce.attributed_checkouts ALTER total_amount TYPE numeric(5,2)`,
			func(k *bought) { k.Amount = text("999.995") }, count(n), "22003"},
		{"text too long", `ALTER TABLE commerce.attributed_checkouts ALTER user_agent TYPE varchar(10)`,
			func(k *bought) { k.Agent = text(strings.Repeat("x", 11)) }, []int{3}, "22001"},
		{"NUL", ``, func(k *bought) { k.IP = text("1\x00") }, []int{n / 2, n/2 + 1}, "22021"},
		{"check", `ALTER TABLE commerce.attributed_checkouts ADD CHECK (ip_address::text <> 'bad')`,
			func(k *bought) { k.IP = text("bad") }, []int{0, 1, 2, 250}, "23514"},
		{"another unique index", `INSERT INTO commerce.attributed_checkouts (checkout_id, ip_address) VALUES ('x',
			'bad');
			CREATE UNIQUE INDEX ON commerce.attributed_checkouts (ip_address) WHERE ip_address::text = 'bad'`,
			func(k *bought) { k.IP = text("bad") }, []int{5, 6}, "23505"},
		{"trigger", `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.ip_address = 'bad' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON commerce.attributed_checkouts FOR EACH ROW
			EXECUTE FUNCTION refuse()`,
			func(k *bought) { k.IP = text("bad") }, []int{99}, "P0001"},
	}
	for _, c := range cases {
		for _, staged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/staged=%v", c.name, staged), func(t *testing.T) {
				b := newBench(t)
				if c.schema != "" {
					b.exec(c.schema)
				}
				batch := b.claim(b.sink, 0)
				if staged {
					b.sink.duplicates.record(true)
					b.sink.duplicates.record(true)
				}
				for i := range n {
					k := checkout(uuid(i))
					if slices.Contains(c.bad, i) {
						c.spoil(k)
					}
					batch.Rows = append(batch.Rows, row(int64(i), k))
				}
				bad := int64(len(c.bad))
				b.commits(b.sink, batch, Result{Fresh: n - bad, Refused: bad, DeadLetters: bad})
				if !slices.Equal(slices.Sorted(slices.Values(batch.Rejected)), offsetsOf(c.bad)) {
					t.Errorf("rejected %v", batch.Rejected)
				}
				b.expect(fmt.Sprintf("%d|refused|t|t", bad), `SELECT count(*), min(reason), bool_and(detail LIKE $1),
					bool_and(payload = convert_to('payload of ' || lpad(to_hex("offset"), 8,
					'0') || '-0000-4000-8000-000000000000 at ' || "offset", 'UTF8'))
					FROM firstclick.dead_letters`, "SQLSTATE "+c.state+": %")
				for _, i := range c.bad {
					b.expect("0", `SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = $1`, uuid(i))
				}
			})
		}
	}
}

func offsetsOf(rows []int) (offsets []int64) {
	return list(rows, func(i int) int64 { return int64(i) })
}

func count(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// The first of several is refused: the next one takes its place.
func TestRefusedHeadGivesWay(t *testing.T) {
	for _, schema := range []string{`ALTER TABLE commerce.attributed_checkouts ALTER ip_address TYPE varchar(8)`,
		`ALTER TABLE commerce.attributed_checkouts ADD CHECK (ip_address::text <> '10.0.0.1')`} {
		b := newBench(t)
		b.exec(schema)
		good := checkout("k")
		good.IP = text("1.1.1.1")
		other := checkout("k")
		other.IP = text("2.2.2.2")
		batch := b.claim(b.sink, 0)
		if strings.Contains(schema, "varchar") {
			b.exec(`ALTER TABLE commerce.attributed_checkouts ALTER ip_address TYPE varchar(7)`)
		}
		batch.Rows = []event.Released{row(0, checkout("k")), row(1, good), row(2, good), row(3, other)}
		batch.Corrections = []event.Correction{{Offset: 0, Checkout: idOf("k"), Click: idOf("wrong"),
			ClickTime: noon - 2},
			{Offset: 1, Checkout: idOf("k"), Click: idOf("right"), ClickTime: noon - 1}}
		b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 1, Conflicts: 1, Refused: 1, DeadLetters: 2,
			Corrected: 1})
		b.expect("1.1.1.1|right", `SELECT ip_address, click_id FROM commerce.attributed_checkouts`)
		got, err := b.sink.Rejected(t.Context(), batch.Claim, batch.TopicID, 0, 3)
		if err != nil || len(got) != 1 || !got[0] {
			t.Fatal(got, err)
		}
	}
}

// k bad rows in n cost few copies: those before a bad one again, the bad one, and what follows.
func TestBisectionIsQuick(t *testing.T) {
	line7 := &pgconn.PgError{Code: "22003", Where: "COPY attributed_checkouts, line 7, column total_amount"}
	all := func() []int {
		rows := make([]int, 20)
		for i := range rows {
			rows[i] = i
		}
		return rows
	}
	// Each case: what Postgres says of the pieces that hold a bad row, and the pieces that are
	// tried.
	for name, c := range map[string]struct {
		first error
		bad   int
		says  error
		want  string
	}{
		"the line is the row's": {line7, 6, line7, "[0-0) [0-6) [6-7) [7-20)"},
		"no line": {errors.New("no"), 10, errors.New("no"),
			"[0-0) [0-10) [10-20) [10-15) [10-12) [10-11) [11-12) [12-15) [15-20)"},
		"not tried yet": {nil, -1, nil, "[0-20)"},
		"the line is another row's": {line7, 19, line7,
			"[0-0) [0-6) [6-7) [7-20) [7-13) [13-20) [13-16) [16-20) [16-18) [18-20) [18-19) [19-20)"},
	} {
		var tried []string
		var refused []int
		err := bisect(all(), c.first, func(piece []int) (refusal, err error) {
			from := 0
			if len(piece) > 0 {
				from = piece[0]
			}
			tried = append(tried, fmt.Sprintf("[%d-%d)", from, from+len(piece)))
			if slices.Contains(piece, c.bad) {
				return c.says, nil
			}
			return nil, nil
		}, func(row int, _ error) { refused = append(refused, row) })
		if got := strings.Join(tried, " "); err != nil || got != c.want || c.bad >= 0 &&
			!slices.Equal(refused, []int{c.bad}) {
			t.Errorf("%s: tried %s, want %s; refused %v, %v", name, got, c.want, refused, err)
		}
	}
	for where, want := range map[string]int{"COPY t2, Zeile 12, Spalte x": 12, "COPY t": 0, "": 0, "COPY t, line 0": 0,
		"PL/pgSQL function f(a,3) line 4 at RAISE\nCOPY t, line 5: \"x\"": 5, "COPY t, line 99999999999999999999": 0} {
		if got, ok := copyLine(&pgconn.PgError{Where: where}); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %d %v", where, got, ok)
		}
	}
}

func TestPayloadsOfEverySize(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	for i, size := range []int{0, 1, 1 << 20, 1<<20 + 1, 5 << 20} {
		batch.Dead = append(batch.Dead, DeadLetter{Topic: checkouts, Offset: int64(i), Reason: event.ReasonTooLarge,
			RecordTime: noon})
		b.sink.Payloads().Keep(&batch.Dead[len(batch.Dead)-1], bytes.Repeat([]byte{0xff}, size))
	}
	batch.Dead = append(batch.Dead, DeadLetter{Topic: checkouts, Offset: 5, Reason: event.ReasonEmpty,
		RecordTime: noon})
	for i := range 2500 {
		batch.Dead = append(batch.Dead, DeadLetter{Topic: "clicks", Offset: int64(i), Reason: event.ReasonJSON,
			Payload: make([]byte, 20_000), RecordTime: noon})
	}
	if res := b.commit(b.sink, batch); res.DeadLetters != 2506 {
		t.Fatalf("%+v", res)
	}
	b.expect("0|0|0|t\n1|1|1|t\n2|1048576|1048576|t\n3|1048577|-|f\n4|5242880|-|f\n5|0|-|f",
		`SELECT "offset", payload_size, length(payload), payload IS NOT NULL AND payload_sha256 = sha256(payload)
		FROM firstclick.dead_letters WHERE topic = 'checkouts' ORDER BY 1`)
	b.expect("0", `SELECT count(*) FROM firstclick.dead_letters WHERE length(payload_sha256) IS DISTINCT FROM 32`)
}

func TestOldColumnTypes(t *testing.T) {
	b := newBench(t)
	b.exec(`ALTER TABLE commerce.attributed_checkouts ALTER total_amount TYPE numeric(5,2),
		ALTER checkout_id TYPE char(36), ALTER click_id TYPE char(36),
		ALTER product_id TYPE text, ALTER checkout_time TYPE timestamptz,
		ALTER click_time TYPE timestamptz(6), ADD extra int NOT NULL DEFAULT 7`)
	batch := b.claim(b.sink, 0)
	k := checkout(uuid(1))
	k.Amount = text("-12.345")
	batch.Rows = []event.Released{clicked(row(0, k), uuid(9), noon-second)}
	b.commit(b.sink, batch)
	batch.Rows = []event.Released{clicked(row(1, k), uuid(8), noon-2*second), row(2, checkout(uuid(2)))}
	batch.Corrections = []event.Correction{{Checkout: idOf(uuid(2)), Click: idOf(uuid(7)), ClickTime: noon},
		{Checkout: idOf(uuid(1)), Click: idOf(strings.Repeat("a", 37)), ClickTime: noon - 100*second}} // does not fit
	b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 1, Corrected: 2, Unclicked: 1, DeadLetters: 1})
	b.expect(uuid(1)+"|-12.35|"+uuid(8)+"|2026-01-01 12:00:00|2026-01-01 11:59:58|7\n"+
		uuid(2)+"|12.50|"+uuid(7)+"|2026-01-01 12:00:00|2026-01-01 12:00:00|7",
		`SELECT checkout_id, total_amount, click_id, checkout_time AT TIME ZONE 'UTC', click_time AT TIME ZONE 'UTC',
			extra
		FROM commerce.attributed_checkouts ORDER BY 1`)
}

func TestPathFollowsDuplicates(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	next := 0
	commit := func(duplicate bool) {
		batch.Rows = nil
		if duplicate {
			batch.Rows = append(batch.Rows, row(0, checkout(uuid(0))))
		}
		next++
		batch.Rows = append(batch.Rows, row(int64(next), checkout(uuid(next))))
		b.commit(b.sink, batch)
	}
	batch.Rows = []event.Released{row(0, checkout(uuid(0)))}
	b.commit(b.sink, batch)
	for _, duplicate := range []bool{true, true} {
		commit(duplicate)
	}
	if !b.sink.duplicates.frequent() {
		t.Fatal("two commits with duplicates do not choose the temporary table")
	}
	for range 3 {
		commit(false)
	}
	if b.sink.duplicates.frequent() {
		t.Fatal("the temporary table is chosen without need")
	}
	commit(false)
	m := b.sink.metrics
	if direct, staged := counted(m.direct), counted(m.staged); m.Transactions() != 7 || direct+staged != 7 ||
		staged < 3 || staged > 5 {
		t.Fatalf("%d transactions, %d direct, %d staged", m.Transactions(), direct, staged)
	}
}

func TestNamesAreAskedOnceAndTriedAgain(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("b"))}
	b.names.err = &pgconn.PgError{Code: "57P01", Message: "terminated"}
	b.commit(b.sink, batch)
	if b.names.calls != 2 {
		t.Fatalf("%d calls", b.names.calls)
	}
	batch.Rows = []event.Released{row(2, checkout("c"))}
	b.names.err = errors.New("no such thing")
	if _, err := b.sink.Commit(t.Context(), []*Batch{batch}); err == nil ||
		!strings.Contains(err.Error(), "no such thing") {
		t.Fatal(err)
	}
}

// A correction that Postgres refuses is left out, wherever it stands: its row keeps the click it
// has, its neighbours move.
func TestRefusedCorrectionsAreFound(t *testing.T) {
	const n = 40
	for _, schema := range []string{
		`CREATE DOMAIN click AS varchar CHECK (VALUE NOT LIKE 'bad%'); ALTER TABLE commerce.attributed_checkouts
			ALTER click_id TYPE click`,
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER refuse BEFORE UPDATE ON commerce.attributed_checkouts FOR EACH ROW
			EXECUTE FUNCTION refuse()`,
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN RAISE 'no' USING ERRCODE = '42501'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER refuse AFTER UPDATE ON commerce.attributed_checkouts FOR EACH ROW EXECUTE FUNCTION refuse()`,
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN RETURN NULL; END IF; RETURN NEW; END $$;
			CREATE TRIGGER refuse BEFORE UPDATE ON commerce.attributed_checkouts FOR EACH ROW
			EXECUTE FUNCTION refuse()`,
		`CREATE TABLE known (click varchar PRIMARY KEY); INSERT INTO known VALUES ('good');
			ALTER TABLE commerce.attributed_checkouts ADD FOREIGN KEY (click_id) REFERENCES known
			DEFERRABLE INITIALLY DEFERRED`,
	} {
		for _, bad := range [][]int{{0}, {7, 8, n - 1}, count(n)} {
			b := newBench(t)
			b.exec(schema)
			batch := b.claim(b.sink, 0)
			for i := range n {
				batch.Rows = append(batch.Rows, row(int64(i), checkout(uuid(i))))
			}
			b.commit(b.sink, batch)
			for i := range n {
				click := "good"
				if slices.Contains(bad, i) {
					click = "bad"
				}
				batch.Corrections = append(batch.Corrections,
					event.Correction{Offset: int64(i), Checkout: idOf(uuid(i)), Click: idOf(click),
						ClickTime: noon - 1})
			}
			batch.Rows = []event.Released{row(n, checkout(uuid(n)))}
			batch.Late = []Late{{Topic: "clicks", Offset: 1, Kind: LateClick, EventID: "late", User: 1, Product: "p",
				Time: noon}}
			b.commits(b.sink, batch, Result{Fresh: 1, Corrected: int64(n - len(bad)), Unclicked: int64(len(bad)),
				DeadLetters: int64(len(bad)), Late: 1})
			b.expect(fmt.Sprintf("%d|%d", n+1, n-len(bad)),
				`SELECT count(*), count(*) FILTER (WHERE click_id = 'good') FROM commerce.attributed_checkouts`)
			b.expect("2", `SELECT commits FROM firstclick.offsets`)
		}
	}
}

// What the database's encoding cannot hold stops nothing: not a click's id, not what is said about
// a record.
func TestADatabaseOfAnotherEncoding(t *testing.T) {
	b := newBench(t)
	latin, err := url.Parse(b.dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(latin.Path, "/") + "_latin"
	b.exec(`CREATE DATABASE ` + name + ` ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	t.Cleanup(func() {
		if _, err := b.db.Exec(context.WithoutCancel(t.Context()), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	latin.Path = name
	if err := migrations.Up(t.Context(), latin.String(), nil); err != nil {
		t.Fatal(err)
	}
	in := &bench{t: t, names: b.names, log: b.log}
	in.sink = in.open(latin.String(), "firstclick-latin", in.names)
	latin.RawQuery += "&client_encoding=UTF8"
	in.dsn = latin.String()
	in.db = in.connect("watcher")
	batch := in.claim(in.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("é")),
		clicked(row(2, checkout("c")), "€", noon)}
	in.commits(in.sink, batch, Result{Fresh: 3, Unclicked: 1, DeadLetters: 1})
	batch.Corrections = []event.Correction{{Offset: 0, Checkout: idOf("a"), Click: idOf("€"), ClickTime: noon - 1},
		{Offset: 1, Checkout: idOf("é"), Click: idOf("ü"), ClickTime: noon - 1}}
	batch.Late = []Late{{
		Topic: "clicks", Offset: 1, Kind: LateClick, EventID: "€", User: 1, Product: "p", Time: noon,
	}}
	batch.Dead = []DeadLetter{{Topic: "clicks", Offset: 2, Reason: event.ReasonShape, Detail: "not an object: €",
		Payload: []byte("€"), RecordTime: noon}}
	in.commits(in.sink, batch, Result{Corrected: 1, Late: 1, Unclicked: 1, DeadLetters: 2})
	in.expect("a|-\nc|-\né|ü", `SELECT checkout_id, click_id FROM commerce.attributed_checkouts
		ORDER BY checkout_id COLLATE "C"`)
	in.expect(`0|click "?" at 2026-01-01 11:59:59.999999: SQLSTATE|f|0|-|f`+"\n"+
		`2|click "?" at 2026-01-01 12:00:00: SQLSTATE|t|17|t|t`,
		`SELECT "offset", left(detail, strpos(detail, 'SQLSTATE') + 7), payload IS NOT NULL, payload_size,
			payload_sha256 = sha256(payload), record_time IS NOT NULL
		FROM firstclick.dead_letters WHERE reason = 'refused_click' ORDER BY 1`)
	in.expect("?", `SELECT event_id FROM firstclick.late`)
	in.expect("not an object: ?|e282ac", `SELECT detail, encode(payload, 'hex') FROM firstclick.dead_letters
		WHERE topic = 'clicks'`)
}
