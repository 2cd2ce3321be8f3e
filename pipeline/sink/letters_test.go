package sink

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"firstclick/join/event"
)

func letters(topic string, from, n int) (out []DeadLetter) {
	for i := from; i < from+n; i++ {
		out = append(out, DeadLetter{Topic: topic, TopicID: [16]byte{1, 2}, Partition: 3, Offset: int64(i),
			Reason: event.ReasonJSON, Detail: "é\x00\xff", Payload: fmt.Appendf(nil, "{%d", i), RecordTime: noon +
				int64(i)})
	}
	return out
}

// Many letters go by COPY, and are stored as by INSERT. One that is stored already, or that is
// twice in the transaction, is kept once.
func TestManyLetters(t *testing.T) {
	b := newBench(t)
	batch := b.claim(b.sink, 0)
	const n = 3 * copiedLetters
	batch.Dead = append(letters("clicks", 0, n), DeadLetter{Topic: "clicks", Offset: n, Reason: event.ReasonEmpty,
		RecordTime: event.NoTime})
	if res := b.commit(b.sink, batch); res.DeadLetters != n+1 {
		t.Fatalf("%+v", res)
	}
	batch.Dead = letters("few", 0, copiedLetters-1)
	b.commit(b.sink, batch)
	const same = `SELECT count(DISTINCT (group_id, topic_id, partition, reason, detail)),
		bool_and(payload = convert_to('{' || "offset", 'UTF8') AND payload_size = length(payload)
		AND payload_sha256 = sha256(payload)
		AND record_time = timestamptz '2026-01-01 12:00:00+00' + "offset" * interval '1 microsecond'
		AND status = 'open')
		FROM firstclick.dead_letters WHERE reason = 'json'`
	b.expect("1|t", same)
	b.expect("0|-|-|e3b0c44298fc1c14", `SELECT payload_size, payload, record_time, left(encode(payload_sha256, 'hex'),
		16) FROM firstclick.dead_letters WHERE reason = 'empty'`)

	for _, again := range []bool{false, true} {
		batch.Dead = letters("clicks", n/2, n)
		for i := range n / 2 {
			batch.Dead[i].Again = again
		}
		batch.Dead = append(batch.Dead, batch.Dead[0])
		if res := b.commit(b.sink, batch); res.DeadLetters != map[bool]int64{false: n / 2, true: 0}[again] {
			t.Fatalf("%+v", res)
		}
		b.expect("1|t", same)
	}
	for i := range int64(2) { // copied again once nothing has been met for a while
		batch.Dead = letters("more", int(i)*n, n)
		if res := b.commit(b.sink, batch); res.DeadLetters != n {
			t.Fatalf("%+v", res)
		}
	}
	b.expect("1|t", same)
	b.expect("6", `SELECT commits FROM firstclick.offsets`)
}

// stillClock stands until it is set.
type stillClock struct {
	systemClock
	now time.Time
}

func (c *stillClock) Now() time.Time { return c.now }

// The first bytes of payloads are kept, a limit for each reason and hour. Of every letter place,
// size and hash are kept. The log says so once an hour.
func TestPayloadsAreBounded(t *testing.T) {
	b := newBench(t)
	clock := &stillClock{now: time.Unix(7200, 0)}
	s, err := New(Config{Database: b.dsn, Application: "firstclick-b", Payloads: 100, Clock: clock,
		Logger: slog.New(slog.NewTextHandler(b.log, nil))}, b.names)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	batch := b.claim(s, 0)
	b.exec(`ALTER TABLE commerce.attributed_checkouts ADD CHECK (ip_address <> '10.0.0.1')`)
	// 17 bytes the first
	batch.Rows = []event.Released{row(0, checkout("a")), rowOf(1, checkout("b"), bytes.Repeat([]byte("x"), 90))}
	add := func(offset int64, reason event.Reason, size int) {
		d := DeadLetter{Topic: "clicks", Offset: offset, Reason: reason}
		s.Payloads().Keep(&d, bytes.Repeat([]byte("y"), size))
		batch.Dead = append(batch.Dead, d)
	}
	for i, size := range []int{60, 40, 1, 0, 40} { // the last ones are too many
		add(int64(i), event.ReasonJSON, size)
	}
	add(5, event.ReasonTime, 100)
	clock.now = clock.now.Add(time.Hour)
	add(6, event.ReasonJSON, 100)
	add(7, event.ReasonJSON, 2)
	add(8, event.ReasonJSON, 1)
	if res := b.commit(s, batch); res.Refused != 2 || res.DeadLetters != 11 {
		t.Fatalf("%+v", res)
	}
	b.expect("0|60|t\n1|40|t\n2|1|f\n3|0|t\n4|40|f\n5|100|t\n6|100|t\n7|2|f\n8|1|f",
		`SELECT "offset", payload_size, payload IS NOT NULL FROM firstclick.dead_letters WHERE topic = 'clicks'
			ORDER BY 1`)
	b.expect("0|17|t\n1|90|f", `SELECT "offset", payload_size, payload IS NOT NULL FROM firstclick.dead_letters
		WHERE topic = 'checkouts' ORDER BY 1`)
	b.expect("t", `SELECT bool_and(payload_sha256 = sha256(CASE topic WHEN 'clicks' THEN convert_to(repeat('y',
		payload_size::int), 'UTF8') ELSE
		CASE payload_size WHEN 90 THEN convert_to(repeat('x', 90), 'UTF8') ELSE payload END END))
		FROM firstclick.dead_letters`)
	for _, reason := range event.Reasons() {
		want := map[event.Reason]int64{event.ReasonJSON: 4, event.ReasonRefused: 1}[reason]
		if got := counted(s.metrics.leftOut.WithLabelValues(string(reason))); got != want {
			t.Errorf("%d payloads left out of reason %s, want %d", got, reason, want)
		}
	}
	if n := strings.Count(b.log.String(), "payloads are not kept"); n != 3 {
		t.Errorf("said %d times:\n%s", n, b.log)
	}
}

// Old letters of the group go, however many they are; others stay.
func TestOldLettersAreForgotten(t *testing.T) {
	b := newBench(t)
	b.exec(`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, payload_size, created_at,
		status)
		SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE $1 END, 'clicks', 0, i, 'json', 0,
		now() - i * interval '1 minute', CASE WHEN i % 3 = 0 THEN 'dropped' ELSE 'open' END
		FROM generate_series(3000, 1, -1) i`, testGroup)
	if n, err := b.sink.ForgetLetters(t.Context(), testGroup, 500*time.Minute+30*time.Second); err != nil || n != 2250 {
		t.Fatal(n, err)
	}
	b.expect("450|500", `SELECT count(*), max("offset") + 1 FROM firstclick.dead_letters WHERE group_id = $1`,
		testGroup)
	b.expect("300", `SELECT count(*) FROM firstclick.dead_letters WHERE group_id = 'other'`)
	if n, err := b.sink.ForgetLetters(t.Context(), testGroup, time.Hour); err != nil || n != 396 {
		t.Fatal(n, err)
	}
}
