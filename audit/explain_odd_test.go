package audit

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"firstclick/internal/pgserver"
	"firstclick/internal/pgtest"
	"firstclick/migrations"
)

// One key with very many clicks: the first ones are shown, the others counted, and the answer is of
// all of them.
func TestExplainManyClicks(t *testing.T) {
	w := newWorld(t)
	var clicks []string
	for i := range 2000 {
		clicks = append(clicks, clickOf(fmt.Sprintf("c%04d", i*7919%2000), 1, "p", -50+float64(i*7919%2000)/60))
	}
	w.live("clicks", 0, -10, clicks...)
	w.live("checkouts", 0, 0, checkoutOf("k", 1, "p", 0))
	w.row("k", "ann", "p", 0, "c0000", -50)
	w.begun([2]int64{9999, 0}, [2]int64{1, 0})
	e := w.explain("k")
	if e.Verdict != VerdictRight || len(e.Clicks) != clicksShown || e.More != 2000-clicksShown ||
		e.Clicks[0].ClickID != "c0000" || e.Clicks[clicksShown-1].ClickID != "c0099" {
		t.Errorf("%s: %d clicks and %d more: %s", e.Verdict, len(e.Clicks), e.More, e.roles())
	}
	// The row's click is shown wherever it is.
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'c1500', click_time = $1::text::timestamp`, at(-25))
	e = w.explain("k")
	if last := e.Clicks[len(e.Clicks)-1]; e.Verdict != VerdictWrong || len(e.Clicks) != clicksShown+1 || !last.Row ||
		last.ClickID != "c1500" || e.More != 1899 {
		t.Errorf("%s: %d clicks and %d more: %s", e.Verdict, len(e.Clicks), e.More, e.roles())
	}
	if text := e.text(t); !strings.Contains(text, "and 1,899 clicks more in the window") ||
		!strings.Contains(text, "In the window: 2,000 clicks") {
		t.Error(text)
	}
}

// The row has no user: of several records with its content, that of the right user is its source.
func TestExplainSeveralUsers(t *testing.T) {
	w := shop(t)
	w.live("clicks", 0, -10, clickOf("of 5", 5, "p", -10))
	w.live("checkouts", 1, 0, checkoutOf("k", 5, "p", 0))
	w.judged(w.explain("k"), VerdictRight, shopRoles, "duplicate checkouts-1 offset 0")
	w.exec(`UPDATE commerce.attributed_checkouts SET click_id = 'of 5', click_time = $1::text::timestamp`, at(-10))
	w.judged(w.explain("k"), VerdictRight, "winner of 5@0/4", "source    checkouts-1 offset 0", "name different users",
		"ann: the records name other users beside user 5")
}

// Ids and addresses are whatever somebody sent.
func TestExplainHostileTexts(t *testing.T) {
	w := newWorld(t)
	hostile := "\x1b]0;owned\a\u009b2J\u202e"
	escaped, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	put := func(event, name string) string { return strings.ReplaceAll(event, `"`+name+`"`, string(escaped)) }
	w.live("clicks", 0, -10, put(put(clickOf("ID", 1, "PRODUCT", -10), "ID"), "PRODUCT"))
	w.live("checkouts", 0, 0, put(put(checkoutOf("ID", 1, "PRODUCT", 0, `,"shipping_address":"ID"`), "ID"), "PRODUCT"))
	w.exec(`INSERT INTO commerce.users VALUES (1, $1, 'x')`, hostile)
	w.row(hostile, hostile, hostile, 0, hostile, -10)
	w.exec(`UPDATE commerce.attributed_checkouts SET shipping_address = $1`, hostile)
	w.exec(`INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, status, payload,
		payload_size, detail) VALUES ('g', 'checkouts', 1, 0, 'json', 'open', $1, 0, $2)`,
		append([]byte(`{"checkout_id":`), escaped...), hostile)
	w.begun([2]int64{1, 0}, [2]int64{1, 0})
	e := w.explain(hostile)
	if e.Verdict != VerdictRight || len(e.Clicks) != 1 || len(e.DeadLetters) != 1 {
		t.Errorf("%+v", e)
	}
	for _, c := range e.text(t) {
		if c != '\n' && !strconv.IsPrint(c) {
			t.Errorf("%q reaches the terminal", c)
		}
	}
}

func TestExplainCommitTimestamp(t *testing.T) {
	server := pgtest.StartTemporary(t, pgserver.WithConfig(map[string]string{"track_commit_timestamp": "on"}))
	w := worldOn(t, server.DSN("postgres"))
	if err := migrations.Up(t.Context(), w.cfg.Database, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	w.live("checkouts", 0, 0, checkoutOf("k", 1, "p", 0))
	w.row("k", "", "p", 0, "", 0)
	w.begun([2]int64{0, 0}, [2]int64{1, 0})
	var now time.Time
	if err := w.db.QueryRow(t.Context(), `SELECT now()`).Scan(&now); err != nil {
		t.Fatal(err)
	}
	e := w.explain("k")
	if c := e.When.CommittedAt; c == nil || c.After(now) || now.Sub(*c) > time.Minute ||
		!strings.Contains(e.text(t), "last written, corrected or filled in ") {
		t.Errorf("committed at %v, now %v", c, now)
	}
}

// A topic that is not there, or is another one of the same name, leaves the row.
func TestExplainWithoutTopics(t *testing.T) {
	w := shop(t)
	w.exec(`UPDATE firstclick.progress SET checkouts_topic_id = '11111111-1111-1111-1111-111111111111'`)
	w.judged(w.explain("k"), VerdictUnverifiable, shopRoles,
		"note: topic checkouts was deleted and created anew since group g began")
	w.exec(`UPDATE firstclick.progress SET checkouts_topic = 'nowhere', checkouts_topic_id = NULL`)
	e := w.explain("k")
	w.judged(e, VerdictUnverifiable, shopRoles, "note: topic nowhere is not in Kafka")
	w.judged(w.explain("none"), VerdictUnknown, "", "Topic nowhere could not be read")
}
