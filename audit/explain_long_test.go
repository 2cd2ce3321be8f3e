package audit

import (
	"fmt"
	"strings"
	"testing"
)

// However long the texts are, and however many records hold them: what is held and shown of them is
// bounded, says what was left out, and tells equal texts from others.
func TestExplainLongTexts(t *testing.T) {
	w := newWorld(t)
	text := strings.Repeat("ä", 100_000)
	texts := func(last string) string {
		return fmt.Sprintf(`,"payment_method":%q,"shipping_address":%q,"billing_address":%q,"user_agent":%q`, text+last,
			text, text, text)
	}
	for range 30 {
		w.produce("checkouts", 0, checkoutOf("k", 1, "p", 0, texts("")))
	}
	w.produce("checkouts", 1, checkoutOf("k", 1, "p", 0, texts("x")))
	w.row("k", "ann", "p", 0, "", 0)
	w.exec(`UPDATE commerce.attributed_checkouts
		SET payment_method = $1, shipping_address = $1, billing_address = $1, user_agent = $1`, text)
	w.dead("checkouts", 1, 0, "conflict", "open")
	w.exec(`UPDATE firstclick.dead_letters
		SET detail = $1, payload = convert_to('{"checkout_id":"k","user_agent":"' || $1 || '"}', 'UTF8')`, text)
	w.begun([2]int64{}, [2]int64{30, 1})

	x := newExplainer(w.cfg, "k")
	if err := x.explain(t.Context()); err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, k := range x.records {
		for _, o := range k.values {
			held += len(o.text)
		}
	}
	for _, d := range x.dead {
		held += len(d.Detail)
	}
	if len(x.records) != 31 || held > 64<<10 {
		t.Errorf("%d records hold %d bytes", len(x.records), held)
	}

	e := w.explain("k")
	roles := map[string]int{}
	for _, r := range e.Records {
		roles[r.Role]++
	}
	if e.Verdict != VerdictRight || roles[RoleSource] != 1 || roles[RoleDuplicate] != 29 || roles[RoleConflict] != 1 {
		t.Errorf("%s, %v", e.Verdict, roles)
	}
	if e.Row == nil || len(*e.Row.UserAgent) > 1000 || !strings.Contains(*e.Row.UserAgent,
		"ää... (200000 bytes, sha256 ") || *e.Row.UserAgent != short(text) {
		t.Errorf("the row is %+v", e.Row)
	}
	if len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "more than 1024 bytes") {
		t.Errorf("notes: %q", e.Notes)
	}
	w.exec(`UPDATE commerce.attributed_checkouts SET payment_method = payment_method || 'y'`)
	if e := w.explain("k"); e.Verdict != VerdictWrong {
		t.Errorf("another text at the end: %s", e.Verdict)
	}
}
