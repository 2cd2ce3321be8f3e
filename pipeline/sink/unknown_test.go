package sink

import (
	"fmt"
	"testing"
	"time"

	"firstclick/join/event"
)

func TestFillUnknown(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	for i := range 10 {
		k := checkout(uuid(i))
		k.User = int32(10 + i/2) // 10 .. 14, two rows each
		batch.Rows = append(batch.Rows, row(int64(i), k))
	}
	if res := b.commit(b.sink, batch); res.Unknown != 10 {
		t.Fatalf("%+v", res)
	}
	fill := func(ids []int32, want int64) {
		t.Helper()
		if got, err := b.sink.FillUnknown(t.Context(), ids); err != nil || got != want {
			t.Fatalf("filled %d, want %d: %v", got, want, err)
		}
	}
	fill(nil, 0)
	fill([]int32{10, 11}, 0)
	b.expect("10", `SELECT count(*) FROM firstclick.unknown_users`)
	b.exec(`INSERT INTO commerce.users VALUES (5, 'five', ''), (11, 'eleven', ''), (13, 'thirteen', ''), (99,
		'much later', '')`)
	fill([]int32{10, 13, 99}, 2)
	b.exec(`DELETE FROM commerce.attributed_checkouts WHERE checkout_id = $1`,
		uuid(2)) // a note without a row
	// and one with a name
	b.exec(`UPDATE commerce.attributed_checkouts SET user_name = 'by hand' WHERE checkout_id = $1`, uuid(3))
	fill(nil, 0)
	b.expect("10|2\n12|2\n14|2", `SELECT user_id, count(*) FROM firstclick.unknown_users GROUP BY 1 ORDER BY 1`)
	b.exec(`INSERT INTO commerce.users VALUES (10, 'ten', ''), (14, 'fourteen', '')`)
	fill(nil, 4)
	b.expect("ten|ten|by hand|-|-|thirteen|thirteen|fourteen|fourteen",
		`SELECT string_agg(coalesce(user_name, '-'), '|' ORDER BY checkout_id) FROM commerce.attributed_checkouts`)
	b.expect("12|2", `SELECT user_id, count(*) FROM firstclick.unknown_users GROUP BY 1`)
}

// A name that does not fit keeps no other from its rows.
func TestFillUnknownPastANameThatDoesNotFit(t *testing.T) {
	b := newBench(t)
	b.exec(`ALTER TABLE commerce.attributed_checkouts ALTER user_name TYPE varchar(10)`)
	batch := b.claim(b.sink, 0)
	for i := range 5 {
		k := checkout(uuid(i))
		k.User = int32(10 + i)
		batch.Rows = append(batch.Rows, row(int64(i), k))
	}
	b.commit(b.sink, batch)
	b.exec(`INSERT INTO commerce.users SELECT i, CASE i WHEN 12 THEN 'much too long a name' ELSE 'user ' || i END, ''
		FROM generate_series(10, 14) i`)
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 4 {
		t.Fatalf("filled %d: %v", n, err)
	}
	b.expect("12", `SELECT user_id FROM firstclick.unknown_users`)
	b.exec(`UPDATE commerce.users SET username = 'short' WHERE id = 12`)
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 1 {
		t.Fatalf("filled %d: %v", n, err)
	}
}

// Rows that stand without a name and without a note (another job's, or schema firstclick was lost)
// get theirs when they are met.
func TestNamesOfRowsThatAreMet(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	b.exec(`INSERT INTO commerce.users VALUES (50, 'here', '')`)
	commit := func() Result {
		for i, user := range []int32{50, 51, 50} {
			k := checkout(uuid(i))
			k.User = user
			batch.Rows = append(batch.Rows, row(int64(i), k))
		}
		return b.commit(b.sink, batch)
	}
	commit()
	b.exec(`UPDATE commerce.attributed_checkouts SET user_name = NULL`)
	// none of ours
	b.exec(`UPDATE commerce.attributed_checkouts SET product_id = 'of another job' WHERE checkout_id = $1`, uuid(2))
	b.exec(`DELETE FROM firstclick.unknown_users`)
	if res := commit(); res.Duplicates != 2 || res.Conflicts != 1 || res.Unknown != 0 {
		t.Fatalf("%+v", res)
	}
	b.expect("here|-|-", `SELECT string_agg(coalesce(user_name, '-'), '|' ORDER BY checkout_id)
		FROM commerce.attributed_checkouts`)
	b.expect("51|"+uuid(1), `SELECT user_id, checkout_id FROM firstclick.unknown_users`)
	b.exec(`INSERT INTO commerce.users VALUES (51, 'late', '')`)
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 1 {
		t.Fatalf("%d filled, %v", n, err)
	}
}

// A user who appears after the names were read and before the commit: nobody else would see that
// there is a row to fill.
func TestUserWhoAppearsDuringCommit(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	b.exec(`INSERT INTO commerce.users VALUES (50, 'just now', '')`) // which the names do not know
	k := checkout("a")
	k.User = 50
	batch.Rows = []event.Released{row(0, k)}
	if res := b.commit(b.sink, batch); res.Unknown != 1 {
		t.Fatalf("%+v", res)
	}
	b.expect("just now", `SELECT user_name FROM commerce.attributed_checkouts`)
	b.expect("0", `SELECT count(*) FROM firstclick.unknown_users`)
}

// Many notes of users who do not exist cost nothing; many of one who does are filled in chunks.
func TestFillUnknownIsCheap(t *testing.T) {
	b := newBench(t)
	b.exec(`INSERT INTO firstclick.unknown_users SELECT 1000 + n % 3, n::text FROM generate_series(1, 300000) n;
		INSERT INTO firstclick.unknown_users SELECT -n, 'm' FROM generate_series(1, 50000) n;
		INSERT INTO commerce.users SELECT n, 'u', '' FROM generate_series(1, 900) n`)
	begun := time.Now()
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	took := time.Since(begun)
	if took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	t.Logf("350,000 notes, none to fill: %v", took)
	b.exec(`INSERT INTO commerce.attributed_checkouts (checkout_id) SELECT n::text FROM generate_series(1, 9000) n;
		INSERT INTO commerce.users VALUES (1001, 'here', '')`)
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 3000 {
		t.Fatal(n, err)
	}
	b.expect("0", `SELECT count(*) FROM firstclick.unknown_users WHERE user_id = 1001`)
}

func TestProgress(t *testing.T) {
	b := newBench(t)
	p := Progress{
		Group: testGroup, ClicksTopic: "clicks", CheckoutsTopic: checkouts, ClicksTopicID: [16]byte{1},
		Window: time.Hour, Lateness: 15 * time.Minute,
		OutOfOrder: 15*time.Second + time.Microsecond, Zone: "UTC", Start: "earliest", ClicksStart: []int64{3,
			4}, CheckoutsStart: []int64{0, 0},
		Watermark: event.NoTime, FinalBefore: event.NoTime,
	}
	got, err := b.sink.EnsureProgress(t.Context(), p)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
		t.Fatalf("%+v %v", got, err)
	}
	again := p
	again.Window, again.ClicksStart = time.Minute, nil
	if got, err = b.sink.EnsureProgress(t.Context(), again); err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
		t.Fatalf("%+v %v", got, err)
	}
	settle := func(watermark, finalBefore int64) {
		t.Helper()
		w, f, err := b.sink.AdvanceProgress(t.Context(), testGroup)
		if err != nil || w != watermark || f != finalBefore {
			t.Fatalf("%d %d %v", w, f, err)
		}
	}
	settle(event.NoTime, event.NoTime)
	one := b.claim(b.sink, 0)
	one.Position.Watermark, one.Position.FinalBefore = noon, noon-second
	b.commit(b.sink, one)
	settle(event.NoTime, event.NoTime) // partition 1 has no shard yet
	two := b.claim(b.sink, 1)
	settle(event.NoTime, event.NoTime) // and then no times
	two.Position.Watermark, two.Position.FinalBefore = noon+second, noon-2*second
	b.commit(b.sink, two)
	settle(noon, noon-2*second)
	b.claim(b.sink, 2) // a new one holds the times where they are
	settle(noon, noon-2*second)
	one.Position.Watermark = noon - 5*second // never back
	b.commit(b.sink, one)
	b.exec(`DELETE FROM firstclick.offsets WHERE partition = 2`)
	settle(noon, noon-2*second)
	if w, f, err := b.sink.AdvanceProgress(t.Context(), "another"); err == nil {
		t.Fatal(w, f)
	}
}

func TestInstances(t *testing.T) {
	b := newBench(t)
	a := Announcement{Group: testGroup, Host: "h", PID: 7, Version: "v", Shards: []int32{1, 2}}
	for range 2 {
		if err := b.sink.Announce(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		a.Shards = nil
		a.Listen = ":8081"
	}
	// What a crash left is there for a day.
	b.exec(`INSERT INTO firstclick.instances (instance, group_id, host, pid, version, shards, heartbeat_at) VALUES
		('yesterday', $1, 'h', 1, 'v', '{}', now() - interval '25 hours'), ('today', $1, 'h', 1, 'v', '{}',
		now() - interval '23 hours'),
		('another group', 'another', 'h', 1, 'v', '{}', now() - interval '25 hours')`, testGroup)
	if err := b.sink.Announce(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	b.expect("another group\nfirstclick-a\ntoday", `SELECT instance FROM firstclick.instances ORDER BY 1`)
	b.exec(`DELETE FROM firstclick.instances WHERE instance <> 'firstclick-a'`)
	b.expect("firstclick-a|firstclick|h|7|v|:8081|{}",
		`SELECT instance, group_id, host, pid, version, listen, shards FROM firstclick.instances`)
	if err := b.sink.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.expect("0", `SELECT count(*) FROM firstclick.instances`)
}

// A takeover that Postgres has made and whose caller went away leaves a shard in the name of an
// instance that ends: chaos, seed 401.
func TestLeaveLetsGoOfShards(t *testing.T) {
	b := newBench(t)
	other := b.open(b.dsn, "firstclick-b", b.names)
	b.claim(b.sink, 0)
	b.claim(other, 1)
	if err := b.sink.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.expect("0|t|-\n1|f|firstclick-b", `SELECT partition, owner IS NULL, instance FROM firstclick.offsets
		ORDER BY partition`)
	b.commit(other, b.claim(other, 1))
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Database: "postgres://"},
		{Database: "postgres://", Application: string(make([]byte, 64))},
		{Database: "postgres://", Application: "ü"}, {Database: "host=a port=b", Application: "a"}} {
		if s, err := New(c, &fakeNames{}); err == nil {
			s.Close()
			t.Errorf("%+v", c)
		}
	}
	if _, err := New(Config{Application: "a"}, nil); err == nil {
		t.Error("no names")
	}
}

// A trigger that keeps rows as they are costs no note: the names are filled in once it is gone,
// however many rows wait.
func TestATriggerThatKeepsNamesOut(t *testing.T) {
	b := newBench(t)
	b.exec(`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.product_id = 'kept' THEN RETURN NULL; END IF; RETURN NEW; END $$;
		CREATE TRIGGER keep BEFORE UPDATE ON commerce.attributed_checkouts FOR EACH ROW EXECUTE FUNCTION keep()`)
	b.exec(`INSERT INTO commerce.users VALUES (7, 'gus', 'x'), (8, 'hal', 'x'), (9, 'ivy', 'x');
		INSERT INTO commerce.attributed_checkouts (checkout_id, product_id)
		SELECT 'k' || i, CASE WHEN i % 2 = 0 THEN 'kept' ELSE 'p' END FROM generate_series(1, 5000) i;
		INSERT INTO firstclick.unknown_users (user_id, checkout_id)
		SELECT CASE WHEN i % 2 = 0 THEN 7 WHEN i < 2500 THEN 8 ELSE 9 END, 'k' || i FROM generate_series(1, 5000) i`)
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 2500 {
		t.Fatal(n, err)
	}
	b.expect("2500|2500", `SELECT (SELECT count(*) FROM firstclick.unknown_users WHERE user_id = 7), (SELECT count(*)
		FROM firstclick.unknown_users)`)
	b.exec(`DROP TRIGGER keep ON commerce.attributed_checkouts`)
	if n, err := b.sink.FillUnknown(t.Context(), nil); err != nil || n != 2500 {
		t.Fatal(n, err)
	}
	b.expect("0|0", `SELECT (SELECT count(*) FROM firstclick.unknown_users), (SELECT count(*)
		FROM commerce.attributed_checkouts WHERE user_name IS NULL)`)
}
