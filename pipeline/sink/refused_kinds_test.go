package sink

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"firstclick/join/event"
	"firstclick/join/window"
)

// meddling makes a trigger that does what is given for a row whose ip_address is 'bad'.
func meddling(timing, when, what string) string {
	return `CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.ip_address = 'bad' THEN ` + what + ` END IF; RETURN NEW; END $$;
		CREATE ` + timing + ` ON commerce.attributed_checkouts ` + when + ` FOR EACH ROW EXECUTE FUNCTION meddle()`
}

// Whatever Postgres says of a row, at once or at COMMIT, in whatever words: the row becomes a dead
// letter, its neighbours land.
func TestWhateverIsSaidOfARow(t *testing.T) {
	const parents = `CREATE TABLE parent (ip varchar PRIMARY KEY); INSERT INTO parent VALUES ('10.0.0.1');
		ALTER TABLE commerce.attributed_checkouts ADD FOREIGN KEY (ip_address) REFERENCES parent `
	type kind struct{ schema, detail string }
	kinds := map[string]kind{
		"deferred foreign key":   {parents + `DEFERRABLE INITIALLY DEFERRED`, "SQLSTATE 23503: %"},
		"deferrable foreign key": {parents + `DEFERRABLE`, "SQLSTATE 23503: %"},
		"deferred trigger": {meddling("CONSTRAINT TRIGGER meddle AFTER INSERT", "DEFERRABLE INITIALLY DEFERRED",
			`RAISE EXCEPTION 'no';`), "SQLSTATE P0001: no"},
		"deferred trigger, state": {meddling("CONSTRAINT TRIGGER meddle AFTER INSERT", "DEFERRABLE INITIALLY DEFERRED",
			`RAISE 'no' USING ERRCODE = '42501';`), "SQLSTATE 42501: no"},
		"deferred exclusion": {`INSERT INTO commerce.attributed_checkouts (checkout_id, ip_address) VALUES ('x', 'bad');
			ALTER TABLE commerce.attributed_checkouts ADD EXCLUDE (ip_address WITH OPERATOR(pg_catalog.=))
			WHERE (ip_address::text = 'bad') DEFERRABLE INITIALLY DEFERRED`, "SQLSTATE 23P01: %"},
		"trigger that keeps it out": {meddling("TRIGGER meddle BEFORE INSERT", "", `RETURN NULL;`), "%trigger%"},
		"trigger that renames it": {meddling("TRIGGER meddle BEFORE INSERT", "", `NEW.checkout_id = 'other';`),
			"%trigger%"},
		"trigger with a missing table": {meddling("TRIGGER meddle BEFORE INSERT", "", `DELETE FROM missing;`),
			"SQLSTATE 42P01: %"},
		"trigger after, null": {meddling("TRIGGER meddle AFTER INSERT", "", `PERFORM 1/0;`),
			"SQLSTATE 22012: %"},
	}
	for _, state := range []string{"MY001", "38000", "42501", "42804", "0A000", "XX000", "40001", "40P01", "55P03",
		"57014", "53100", "P0002", "01000", "21000"} {
		kinds["state "+state] = kind{
			meddling("TRIGGER meddle BEFORE INSERT", "", `RAISE 'no' USING ERRCODE = '`+state+`';`), "SQLSTATE " +
				state + ": no"}
	}
	for name, kind := range kinds {
		type draw struct {
			n      int
			bad    []int
			staged bool
		}
		draws := []draw{{1, []int{0}, true}, {40, []int{0, 7, 39}, false}}
		if !strings.HasPrefix(name, "state") {
			draws = append(draws, draw{1, []int{0}, false}, draw{40, []int{5, 6}, true}, draw{3, []int{0, 1, 2}, false})
		}
		for _, c := range draws {
			t.Run(fmt.Sprintf("%s/%d of %d/staged=%v", name, len(c.bad), c.n, c.staged), func(t *testing.T) {
				b := newBench(t)
				b.exec(kind.schema)
				batch := b.claim(b.sink, 0)
				if c.staged {
					b.sink.duplicates.record(true)
					b.sink.duplicates.record(true)
				}
				for i := range c.n {
					k := checkout(uuid(i))
					if slices.Contains(c.bad, i) {
						k.IP = text("bad")
					}
					batch.Rows = append(batch.Rows, row(int64(i), k))
				}
				batch.Dead = []DeadLetter{{Topic: "clicks", Offset: 1, Reason: event.ReasonJSON}}
				bad := int64(len(c.bad))
				b.commits(b.sink, batch, Result{Fresh: int64(c.n) - bad, Refused: bad, DeadLetters: bad + 1})
				if !slices.Equal(slices.Sorted(slices.Values(batch.Rejected)), offsetsOf(c.bad)) {
					t.Errorf("rejected %v", batch.Rejected)
				}
				b.expect(fmt.Sprintf("%d|t", bad),
					`SELECT count(*), bool_and(detail LIKE $1) FROM firstclick.dead_letters
						WHERE reason = 'refused'`, kind.detail)
				b.expect(fmt.Sprint(int64(c.n)-bad),
					`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id <> 'x'`)
				b.expect("1", `SELECT commits FROM firstclick.offsets`)
			})
		}
	}
}

// A row that needs its neighbour is not refused because a third one is.
func TestRowsThatNeedOneAnother(t *testing.T) {
	for _, when := range []string{"", "DEFERRABLE INITIALLY DEFERRED"} {
		b := newBench(t)
		b.exec(`ALTER TABLE commerce.attributed_checkouts ADD FOREIGN KEY (payment_method)
			REFERENCES commerce.attributed_checkouts (checkout_id) ` + when)
		batch := b.claim(b.sink, 0)
		const n = 20
		for i := range n {
			k := checkout(uuid(i))
			k.Payment = text(uuid((i + 7) % n)) // one that may come before or after
			if i == 3 {
				k.Payment = text("nobody")
			}
			batch.Rows = append(batch.Rows, row(int64(i), k))
		}
		// What leads to the bad row falls with it, all the others form no circle without it: 3 is
		// needed by 16, that by 9, and so on.
		res := b.commit(b.sink, batch)
		if res.Fresh+res.Refused != n || res.Refused != n {
			t.Fatalf("%+v", res)
		}
		for i := range n {
			k := checkout(uuid(100 + i))
			k.Payment = text(uuid(100 + (i+7)%n))
			if i%2 == 1 {
				k.Payment = text(uuid(100 + i))
			}
			if i == 4 {
				k.Payment = text("nobody") // needed by 17, which needs itself
			}
			batch.Rows = append(batch.Rows, row(int64(n+i), k))
		}
		b.commits(b.sink, batch, Result{Fresh: n - 1, Refused: 1, DeadLetters: 1})
	}
}

// What Postgres says of everything ends the run, and names the cause and the place. Nothing becomes
// a dead letter.
func TestWhatIsSaidOfEverything(t *testing.T) {
	for name, c := range map[string]struct{ schema, want string }{
		"statement trigger": {`CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				RAISE EXCEPTION 'closed today'; END $$;
			CREATE TRIGGER closed BEFORE INSERT ON commerce.attributed_checkouts FOR EACH STATEMENT
			EXECUTE FUNCTION closed()`, "closed today"},
		"column renamed": {`ALTER TABLE commerce.attributed_checkouts RENAME user_agent TO agent`,
			"has no column user_agent"},
		"column dropped": {`ALTER TABLE commerce.attributed_checkouts DROP click_id`, "has no column click_id"},
		"column's type": {`ALTER TABLE commerce.attributed_checkouts ALTER total_amount TYPE float8`,
			"total_amount is double precision"},
		"generated": {`ALTER TABLE commerce.attributed_checkouts DROP ip_address,
			ADD ip_address varchar GENERATED ALWAYS AS ('x') STORED`, "ip_address is generated"},
		"not null": {`ALTER TABLE commerce.attributed_checkouts ALTER click_id SET NOT NULL`,
			"click_id is NOT NULL"},
		"domain, not null": {`CREATE DOMAIN click AS varchar NOT NULL;
			ALTER TABLE commerce.attributed_checkouts DROP click_id;
			ALTER TABLE commerce.attributed_checkouts ADD click_id click DEFAULT 'z'`, "click_id is NOT NULL"},
		"table dropped": {`DROP TABLE commerce.attributed_checkouts`, "commerce.attributed_checkouts"},
		"no key": {`ALTER TABLE commerce.attributed_checkouts DROP CONSTRAINT attributed_checkouts_pkey`,
			"no unique index"},
		"view": {`ALTER TABLE commerce.attributed_checkouts RENAME TO t;
			CREATE VIEW commerce.attributed_checkouts AS SELECT * FROM commerce.t`, "is a view"},
		"rule": {`CREATE RULE keep AS ON UPDATE TO commerce.attributed_checkouts
			WHERE false DO INSTEAD NOTHING`, "rule keep"},
		"times are rounded": {`ALTER TABLE commerce.attributed_checkouts ALTER click_time TYPE timestamp(3)`,
			"ALTER COLUMN click_time TYPE timestamp(6)"},
		"checkout times are rounded": {`ALTER TABLE commerce.attributed_checkouts
			ALTER checkout_time TYPE timestamptz(0)`,
			"ALTER COLUMN checkout_time TYPE timestamp(6) with time zone"},
		"times of a domain are rounded": {`CREATE DOMAIN at AS timestamp(0); ALTER TABLE commerce.attributed_checkouts
			ALTER click_time TYPE at`, "click_time is public.at"},
		"right taken away": {`REVOKE INSERT ON commerce.attributed_checkouts FROM writer`,
			"permission denied"},
		"right to update taken away": {`REVOKE UPDATE ON commerce.attributed_checkouts FROM writer`,
			"permission denied"},
		"row-level security": {`ALTER TABLE commerce.attributed_checkouts ENABLE ROW LEVEL SECURITY;
			CREATE POLICY all_rows ON commerce.attributed_checkouts USING (true)`, "row-level security"},
	} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/running=%v", name, running), func(t *testing.T) {
				b := newBench(t)
				b.exec(`DO $$ BEGIN IF to_regrole('writer') IS NULL THEN CREATE ROLE writer
					LOGIN PASSWORD 'writer'; END IF; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
					GRANT USAGE ON SCHEMA commerce, firstclick TO writer;
					GRANT ALL ON ALL TABLES IN SCHEMA commerce, firstclick TO writer`)
				s := b.open(b.as("writer"), "firstclick-writer", b.names)
				if !running {
					b.exec(c.schema)
				}
				batch := b.claimed(s, 3)
				var err error
				if batch != nil {
					if running {
						batch.Rows = []event.Released{clicked(row(0, checkout(uuid(0))), "z", noon)}
						b.commit(s, batch)
						b.exec(c.schema)
					}
					batch.Rows = []event.Released{row(17, checkout(uuid(1))), row(18, checkout(uuid(2)))}
					batch.Corrections = []event.Correction{{Offset: 0, Checkout: idOf(uuid(0)), Click: idOf("a"),
						ClickTime: noon - 1}}
					_, err = s.Commit(t.Context(), []*Batch{batch})
					if err == nil || !strings.Contains(err.Error(), "checkouts[3]") ||
						!strings.Contains(err.Error(), "17") {
						t.Fatalf("no place in %v", err)
					}
				} else {
					_, err = s.Claim(t.Context(), testGroup, checkouts, 3, State{Position: noPosition()})
				}
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v", err)
				}
				b.expect("0", `SELECT count(*) FROM firstclick.dead_letters`)
			})
		}
	}
}

// A table that is altered while rows flow is written as it stands now: what a wider column takes is
// taken, with no restart.
func TestTheTableIsAlteredMeanwhile(t *testing.T) {
	b := newBench(t)
	b.exec(`ALTER TABLE commerce.attributed_checkouts ALTER ip_address TYPE varchar(4), ALTER click_id TYPE varchar(4),
		ALTER total_amount TYPE numeric(5,2)`)
	b.sink.duplicates.record(true)
	b.sink.duplicates.record(true) // asks: everything goes through the temporary table that can
	batch := b.claim(b.sink, 0)
	at := func(offset int64, id, ip, amount string) event.Released {
		k := checkout(id)
		k.IP, k.Amount = text(ip), text(amount)
		return row(offset, k)
	}
	batch.Rows = []event.Released{at(0, "a", "1", "1"), at(1, "a", "1", "1"), at(2, "b", "12345", "1"),
		at(3, "b", "12345", "1")}
	b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 1, Refused: 2, DeadLetters: 2})
	b.exec(`ALTER TABLE commerce.attributed_checkouts ALTER ip_address TYPE varchar(5), ALTER click_id TYPE varchar,
		ALTER total_amount TYPE numeric(12,4)`)
	batch.Rows = []event.Released{at(4, "b", "12345", "1.2345"), at(5, "b", "12345", "1.2345"), at(6, "c", "1", "1.23")}
	batch.Corrections = []event.Correction{{Offset: 0, Checkout: idOf("a"), Click: idOf("longer"), ClickTime: noon - 1}}
	b.commits(b.sink, batch, Result{Fresh: 2, Duplicates: 1, Corrected: 1})
	b.expect("a|longer|1.0000\nb|-|1.2345\nc|-|1.2300",
		`SELECT checkout_id, click_id, total_amount FROM commerce.attributed_checkouts ORDER BY 1`)
	// The key is dropped and made again under a trigger, the table is exchanged for another one.
	b.exec(`CREATE TABLE fresh (LIKE commerce.attributed_checkouts INCLUDING ALL);
		ALTER TABLE commerce.attributed_checkouts RENAME TO old;
		ALTER TABLE fresh SET SCHEMA commerce; ALTER TABLE commerce.fresh RENAME TO attributed_checkouts;
		ALTER TABLE commerce.attributed_checkouts ALTER ip_address TYPE text`)
	batch.Rows = []event.Released{at(7, "a", "123456", "1"), at(8, "a", "123456", "1")}
	b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 1})
}

// A trigger that keeps the first of several out lets the next one in.
func TestKeptOutHeadGivesWay(t *testing.T) {
	b := newBench(t)
	b.exec(meddling("TRIGGER meddle BEFORE INSERT", "", `RETURN NULL;`))
	batch := b.claim(b.sink, 0)
	bad := checkout("k")
	bad.IP = text("bad")
	batch.Rows = []event.Released{row(0, bad), row(1, checkout("k")), row(2, checkout("k"))}
	b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 1, Refused: 1, DeadLetters: 1})
}

// A partitioned table without a partition for the row.
func TestNoPartition(t *testing.T) {
	b := newBench(t)
	b.exec(`ALTER TABLE commerce.attributed_checkouts RENAME TO whole;
		CREATE TABLE commerce.attributed_checkouts (LIKE commerce.whole INCLUDING DEFAULTS, PRIMARY KEY (checkout_id))
		PARTITION BY RANGE (checkout_id);
		CREATE TABLE commerce.part PARTITION OF commerce.attributed_checkouts FOR VALUES FROM ('a') TO ('c')`)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout("a")), row(1, checkout("c")), row(2, checkout("b")),
		row(3, checkout("b"))}
	b.commits(b.sink, batch, Result{Fresh: 2, Duplicates: 1, Refused: 1, DeadLetters: 1})
}

// A trigger that comes while rows flow, on a partition or with one, is noticed like one of the
// table's own: no row counts as written that is not there, and no correction as made that was not.
func TestTriggersOfPartitionsComeAtAnyTime(t *testing.T) {
	const function = `CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF TG_OP = 'INSERT' THEN NEW.checkout_id = NEW.checkout_id || '?'; RETURN NEW; END IF;
			RETURN NULL; END $$;`
	const trigger = `CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON commerce.part FOR EACH ROW
		EXECUTE FUNCTION meddle()`
	for name, sql := range map[string]string{
		"made": function + trigger,
		"attached": `BEGIN; ALTER TABLE commerce.attributed_checkouts DETACH PARTITION commerce.part; ` + function +
			trigger + `;
			ALTER TABLE commerce.attributed_checkouts ATTACH PARTITION commerce.part FOR VALUES
			FROM ('a') TO ('z'); COMMIT`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.exec(`ALTER TABLE commerce.attributed_checkouts RENAME TO whole;
				CREATE TABLE commerce.attributed_checkouts (LIKE commerce.whole INCLUDING DEFAULTS,
				PRIMARY KEY (checkout_id)) PARTITION BY RANGE (checkout_id);
				CREATE TABLE commerce.part PARTITION OF commerce.attributed_checkouts FOR VALUES FROM ('a') TO ('z')`)
			batch := b.claim(b.sink, 0)
			batch.Rows = []event.Released{row(0, checkout("a"))}
			b.commit(b.sink, batch)
			b.exec(sql)
			batch.Rows = []event.Released{row(1, checkout("b"))}
			batch.Corrections = []event.Correction{{Offset: 0, Checkout: idOf("a"), Click: idOf("c"),
				ClickTime: noon - 1}}
			b.commits(b.sink, batch, Result{Refused: 1, Unclicked: 1, DeadLetters: 2})
			b.expect("a|-", `SELECT checkout_id, click_id FROM commerce.attributed_checkouts`)
		})
	}
}

// A trigger that gives the row back with the click it had refuses the correction as one that raises
// does.
func TestATriggerThatKeepsTheClick(t *testing.T) {
	b := newBench(t)
	b.exec(`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.click_id LIKE 'bad%' THEN NEW.click_id := OLD.click_id; NEW.click_time := OLD.click_time; END IF;
			RETURN NEW; END $$;
		CREATE TRIGGER keep BEFORE UPDATE ON commerce.attributed_checkouts FOR EACH ROW EXECUTE FUNCTION keep()`)
	w, key := window.New(0), event.Key{Lo: 1}
	for i, id := range []string{"bad1", "bad2", "good"} {
		w.Insert(key, noon-10+int64(i), idOf(id))
	}
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{clicked(row(0, checkout("a")), "later", noon-1), row(1, checkout("b"))}
	b.commit(b.sink, batch)
	batch.Clicks = w
	for i, id := range []string{"a", "b"} {
		batch.Corrections = append(batch.Corrections,
			event.Correction{Offset: int64(i), Key: key, Time: noon, Checkout: idOf(id), Click: idOf("bad1"),
				ClickTime: noon - 10})
	}
	b.commits(b.sink, batch, Result{Corrected: 2, Unclicked: 2, DeadLetters: 2})
	b.expect("a|good\nb|good", `SELECT checkout_id, click_id FROM commerce.attributed_checkouts ORDER BY 1`)
}

// Rights on a partitioned table are enough: none is needed on its partitions, which are locked with
// it.
func TestRightsOnAPartitionedTable(t *testing.T) {
	b := newBench(t)
	b.exec(`DO $$ BEGIN IF to_regrole('writer') IS NULL THEN CREATE ROLE writer
		LOGIN PASSWORD 'writer'; END IF; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
		ALTER TABLE commerce.attributed_checkouts RENAME TO whole;
		CREATE TABLE commerce.attributed_checkouts (LIKE commerce.whole INCLUDING DEFAULTS, PRIMARY KEY (checkout_id))
		PARTITION BY RANGE (checkout_id);
		CREATE TABLE commerce.part PARTITION OF commerce.attributed_checkouts FOR VALUES FROM ('a') TO ('z');
		GRANT USAGE ON SCHEMA commerce, firstclick TO writer; GRANT ALL ON ALL TABLES IN SCHEMA firstclick TO writer;
		GRANT SELECT, INSERT, UPDATE ON commerce.attributed_checkouts TO writer`)
	s := b.open(b.as("writer"), "firstclick-writer", b.names)
	batch := b.claim(s, 0)
	batch.Rows = []event.Released{row(0, checkout("a"))}
	b.commits(s, batch, Result{Fresh: 1})
}
