package sink

import (
	"slices"
	"testing"

	"firstclick/join/event"
)

func TestCommitWritesEverythingTogether(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 3)
	batch.TopicID = [16]byte{1}
	batch.Position = event.Position{
		NextOffset: 12, OpenOffset: 10, LeaderEpoch: 4,
		ClicksNext: []int64{7, 8}, ClicksRestore: []int64{5, 6}, ClicksEpoch: []int32{1, -1},
		Watermark: noon, FinalBefore: noon - second, ExpireBefore: noon - 2*second, ClicksLatest: []int64{noon,
			event.NoTime},
	}
	unknown := checkout(uuid(1))
	unknown.User = 100
	unknown.Amount, unknown.Payment, unknown.Time = nil, nil, noon+1
	batch.Rows = []event.Released{clicked(row(10, checkout(uuid(2))), "click", noon-second), row(11, unknown)}
	batch.Dead = []DeadLetter{{Topic: "clicks", Partition: 1, Offset: 9, Reason: event.ReasonJSON,
		Detail: "bad \x00 \xff", Payload: []byte("{\x00"), RecordTime: event.NoTime}}
	batch.Late = []Late{{Topic: "clicks", Partition: 1, Offset: 8, Kind: LateClick, EventID: "c", User: 1, Product: "p",
		Time: noon}}

	b.commits(b.sink, batch, Result{Fresh: 2, Attributed: 1, Unknown: 1, DeadLetters: 1, Late: 1})
	if batch.Claim.Commits != 1 || b.names.calls != 1 {
		t.Fatalf("commits %d, calls for names %d", batch.Claim.Commits, b.names.calls)
	}
	b.expect(uuid(1)+"|-|-|-|p-1|-|-|1 Road\nTown|-|agent|10.0.0.1|2026-01-01 12:00:00.000001\n"+
		uuid(2)+"|ann|click|2026-01-01 11:59:59|p-1|card|12.50|1 Road\nTown|-|agent|10.0.0.1|2026-01-01 12:00:00",
		`SELECT checkout_id, user_name, click_id, click_time, product_id, payment_method, total_amount,
			shipping_address, billing_address,
		user_agent, ip_address, checkout_time FROM commerce.attributed_checkouts ORDER BY 1`)
	b.expect("100|"+uuid(1), `SELECT user_id, checkout_id FROM firstclick.unknown_users`)
	b.expect("firstclick|clicks|1|9|json|bad \uFFFD \uFFFD|\\x7b00|2|t|-",
		`SELECT group_id, topic, partition, "offset", reason, detail, payload, payload_size,
			payload_sha256 = sha256(payload), record_time FROM firstclick.dead_letters`)
	b.expect("clicks|1|8|click|c|1|p", `SELECT topic, partition, "offset", kind, event_id, user_id, product_id
		FROM firstclick.late`)
	stored, err := b.sink.Shards(t.Context(), testGroup, checkouts)
	if err != nil || len(stored) != 1 {
		t.Fatal(stored, err)
	}
	st := stored[0]
	if st.Claim != *batch.Claim || st.TopicID != batch.TopicID || st.Instance != "firstclick-a" ||
		!slices.Equal(st.Position.ClicksLatest, batch.Position.ClicksLatest) {
		t.Fatalf("stored %+v", st)
	}
	b.expect("12|10|4|{7,8}|{5,6}|{1,-1}|2026-01-01 12:00:00|2026-01-01 11:59:59|2026-01-01 11:59:58",
		`SELECT next_offset, recent_offset, leader_epoch, clicks_next, clicks_restore, clicks_epoch,
		watermark AT TIME ZONE 'UTC', final_before AT TIME ZONE 'UTC', expire_before AT TIME ZONE 'UTC'
		FROM firstclick.offsets`)

	// The same letters again, and nothing else: the position moves, nothing is kept twice.
	batch.Dead = []DeadLetter{{Topic: "clicks", Partition: 1, Offset: 9, Reason: event.ReasonJSON}}
	batch.Late = []Late{{Topic: "clicks", Partition: 1, Offset: 8, Kind: LateClick, EventID: "c", User: 1, Product: "p",
		Time: noon}}
	b.commits(b.sink, batch, Result{})
	b.expect("2", `SELECT commits FROM firstclick.offsets`)
}

// The note of a late click is the group's, and each shard writes it that finds the click too late.
// Repair may have run in between.
func TestALateClickIsOpenAgainForEachShardThatMeetsIt(t *testing.T) {
	b := newBench(t)
	note := func(offset int64) Late {
		return Late{Topic: "clicks", Partition: 1, Offset: offset, Kind: LateClick, EventID: "c", User: 1, Product: "p",
			Time: noon}
	}
	open := func(want string) {
		t.Helper()
		b.expect(want, `SELECT "offset", repaired_at IS NULL FROM firstclick.late ORDER BY 1`)
	}
	first, second, third := b.claim(b.sink, 0), b.claim(b.sink, 1), b.claim(b.sink, 2)
	first.Late = []Late{note(8), note(9)}
	b.commit(b.sink, first)
	b.exec(`UPDATE firstclick.late SET repaired_at = now()`)
	open("8|f\n9|f")
	second.Late, third.Late = []Late{note(8), note(10)}, []Late{note(8)} // two shards in one transaction
	if res := b.commit(b.sink, second, third); res.Late != 2 {
		t.Errorf("%d notes, want one made anew and one open again", res.Late)
	}
	open("8|t\n9|f\n10|t")
}

func TestDuplicatesAndConflicts(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{row(0, checkout(uuid(1))), clicked(row(1, checkout(uuid(2))), "m", noon-10)}
	b.commit(b.sink, batch)

	other := checkout(uuid(1))
	other.Product = text("p-2")
	other.Payment = nil
	rounded := checkout(uuid(2))
	rounded.Amount = text("12.5000001") // numeric(12,2) stores the same
	batch.Rows = []event.Released{
		row(2, other),
		clicked(row(3, checkout(uuid(1))), "z", noon-5), // equal, and knows a click
		clicked(row(4, rounded), "a", noon-10),          // equal, its click is less by id
		row(5, checkout(uuid(2))),                       // equal, knows none
		row(6, checkout(uuid(3))),                       // new
		row(7, checkout(uuid(3))),                       // equal to the one before
	}
	b.commits(b.sink, batch, Result{Fresh: 1, Duplicates: 4, Conflicts: 1, Corrected: 2, DeadLetters: 1})
	b.expect(uuid(1)+"|p-1|z|11:59:59.999995\n"+uuid(2)+"|p-1|a|11:59:59.99999\n"+uuid(3)+"|p-1|-|-",
		`SELECT checkout_id, product_id, click_id, click_time::time FROM commerce.attributed_checkouts ORDER BY 1`)
	b.expect("2|conflict|another row stands under this checkout_id; different: product_id, payment_method|payload of "+
		uuid(1)+" at 2",
		`SELECT "offset", reason, detail, convert_from(payload, 'UTF8') FROM firstclick.dead_letters`)

	// The same rows once more change nothing.
	batch.Rows = []event.Released{clicked(row(8, checkout(uuid(1))), "z", noon-5),
		clicked(row(9, checkout(uuid(2))), "b", noon-10)}
	b.commits(b.sink, batch, Result{Duplicates: 2})
}

func TestFirstOfSeveralInOneCommitStays(t *testing.T) {
	b := newBench(t)
	p1, p0 := b.claim(b.sink, 1), b.claim(b.sink, 0)
	second := checkout("same")
	second.Agent = text("second")
	p1.Rows = []event.Released{row(1, checkout("same"))}
	p0.Rows = []event.Released{row(9, second), row(11, checkout("same"))}
	res := b.commit(b.sink, p1, p0) // partition 0 comes first, then offsets
	if want := (Result{Fresh: 1, Conflicts: 2, DeadLetters: 2}); res != want {
		t.Fatalf("got %+v, want %+v", res, want)
	}
	b.expect("same|second", `SELECT checkout_id, user_agent FROM commerce.attributed_checkouts`)
	b.expect("0|11\n1|1", `SELECT partition, "offset" FROM firstclick.dead_letters ORDER BY 1, 2`)
}

func TestCorrectionsMoveOnlyToEarlierClicks(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	batch.Rows = []event.Released{
		row(0, checkout(uuid(1))), clicked(row(1, checkout(uuid(2))), "m", noon-10),
		clicked(row(2, checkout(uuid(3))), "m", noon-10), clicked(row(3, checkout(uuid(4))), "m", noon-10),
	}
	id := func(s string) event.ID { return idOf(s) }
	batch.Corrections = []event.Correction{
		{Offset: 0, Checkout: id(uuid(4)), Click: id("n"), ClickTime: noon - 10}, // greater by id
		{Offset: 0, Checkout: id(uuid(3)), Click: id("B"),
			ClickTime: noon - 10}, // less by bytes, whatever the database's collation says
		{Offset: 0, Checkout: id(uuid(2)), Click: id("a"), ClickTime: noon - 9},   // later
		{Offset: 0, Checkout: id(uuid(2)), Click: id("z"), ClickTime: noon - 11},  // earlier
		{Offset: 0, Checkout: id(uuid(2)), Click: id("zz"), ClickTime: noon - 11}, // earlier, but not the least
		{Offset: 0, Checkout: id(uuid(1)), Click: id("x"), ClickTime: noon - 1},   // there was none
		{Offset: 0, Checkout: id(uuid(9)), Click: id("x"), ClickTime: noon - 1},   // no such row
	}
	if res := b.commit(b.sink, batch); res.Corrected != 3 || res.Fresh != 4 {
		t.Fatalf("got %+v", res)
	}
	b.expect("x\nz\nB\nm", `SELECT click_id FROM commerce.attributed_checkouts ORDER BY checkout_id`)
}
