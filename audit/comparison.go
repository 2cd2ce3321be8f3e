package audit

import (
	"fmt"
	"io"
	"time"
)

// Comparison is what Compare found. Numbers count checkout_ids unless said otherwise.
type Comparison struct {
	Table  string        `json:"table"`
	Window time.Duration `json:"window_ns"`

	Clicks     int64            `json:"clicks"`     // valid clicks read from Kafka
	Checkouts  int64            `json:"checkouts"`  // valid checkouts read from Kafka, duplicates included
	Duplicates int64            `json:"duplicates"` // checkouts beyond the first of their checkout_id
	Invalid    map[string]int64 `json:"invalid"`    // records that are no events, by reason
	Rows       int64            `json:"rows"`       // rows of the table
	Attributed int64            `json:"attributed"` // rows with a click
	Outside    int64            `json:"outside"`    // left out by Since and Until

	Same         int64 `json:"same"`
	Missing      int64 `json:"missing"`      // checkouts that the table has no row of
	Extra        int64 `json:"extra"`        // rows of no checkout in Kafka
	Doubled      int64 `json:"doubled"`      // rows beyond the first of their checkout_id
	Different    int64 `json:"different"`    // rows with another click; the five below say how
	Unattributed int64 `json:"unattributed"` // without a click, and there is one
	Misled       int64 `json:"misled"`       // with a click, and there is none
	Later        int64 `json:"later"`        // with a later click than the first
	Earlier      int64 `json:"earlier"`      // with an earlier one than there is in the window
	Mistimed     int64 `json:"mistimed"`     // the right click_id at another click_time, or without one
	Pending      int64 `json:"pending"`      // too fresh to be judged
	Unverifiable int64 `json:"unverifiable"` // needs records that Kafka no longer holds

	// Digests of (checkout_id, click_id, click_time) over what was judged, as Verify's.
	ExpectedDigest string `json:"expected_digest"`
	ActualDigest   string `json:"actual_digest"`

	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// OK is true when the table says what Kafka's records say, as far as that can be judged.
func (r Comparison) OK() bool {
	return r.Missing == 0 && r.Extra == 0 && r.Doubled == 0 && r.Different == 0
}

// KindDoubled is a row beyond the first of its checkout_id.
const KindDoubled Kind = "doubled"

// WriteTo prints the comparison for people.
func (r Comparison) WriteTo(w io.Writer) (int64, error) {
	t := &printer{width: 12}
	fmt.Fprintf(t, "%s against Kafka, window %s: read %s clicks and %s checkouts (%s duplicates), "+
		"%s rows (%s with a click) in %s\n\n",
		r.Table, r.Window, grouped(r.Clicks), grouped(r.Checkouts), grouped(r.Duplicates),
		grouped(r.Rows), grouped(r.Attributed), r.Elapsed.Round(10*time.Millisecond))
	t.line(r.Same, "same", "rows that are what Kafka's records say")
	t.line(r.Missing, "missing", "checkouts without a row")
	t.line(r.Extra, "extra", "rows of no checkout in Kafka")
	t.some(r.Doubled, "doubled", "rows beyond the first of their checkout_id")
	different := "rows with another click"
	if r.Different > 0 {
		different += ", of these:"
	}
	t.line(r.Different, "different", different)
	t.some(r.Unattributed, "", "  without a click, and there is one")
	t.some(r.Misled, "", "  with a click, and there is none in the window")
	t.some(r.Later, "", "  with a later click than the first")
	t.some(r.Earlier, "", "  with an earlier click than the first in the window")
	t.some(r.Mistimed, "", "  the right click_id at another click_time")
	t.some(r.Pending, "pending", "too fresh to be judged (--grace)")
	t.some(r.Unverifiable, "unverifiable", "rows that need records that Kafka no longer holds")
	t.some(r.Outside, "outside", "left out by --since and --until")
	for _, reason := range sortedKeys(r.Invalid) {
		t.line(r.Invalid[reason], "no event", "records that nobody can have made rows of: "+reason)
	}
	fmt.Fprintf(t, "\nexpected  %s\nactual    %s\n", r.ExpectedDigest, r.ActualDigest)
	t.notes(r.Notes)
	t.examples(r.Examples)
	if r.OK() {
		t.WriteString("\nEverything as it should be.\n")
	} else {
		t.WriteString("\nNOT as it should be.\n")
	}
	return t.Buffer.WriteTo(w)
}
