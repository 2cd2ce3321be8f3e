package audit

import (
	"fmt"
	"io"
	"time"
)

// Outcome is what WhatIf did, and what would change. Numbers count checkouts unless said otherwise.
type Outcome struct {
	Into   string        `json:"into"`
	Model  Model         `json:"model"`
	Window time.Duration `json:"window_ns"`

	Clicks     int64            `json:"clicks"`     // valid clicks read from Kafka
	Checkouts  int64            `json:"checkouts"`  // checkout_ids
	Duplicates int64            `json:"duplicates"` // records beyond the first of their checkout_id
	Invalid    map[string]int64 `json:"invalid"`    // records that are no events, by reason
	Written    int64            `json:"written"`    // rows of the new table

	AttributedNow  int64 `json:"attributed_now"`  // of the checkouts that the current table has too
	AttributedThen int64 `json:"attributed_then"` // of all
	Same           int64 `json:"same"`            // all credit stays where it is
	Gained         int64 `json:"gained"`          // no click now, one or more then
	Lost           int64 `json:"lost"`            // a click now, none then
	Moved          int64 `json:"moved"`           // all credit goes to another click
	Split          int64 `json:"split"`           // credit goes to several clicks
	New            int64 `json:"new"`             // not in the current table, or not yet
	Left           int64 `json:"left"`            // rows of the current table whose checkout Kafka does not hold

	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// Kinds of examples of WhatIf's.
const (
	KindGained Kind = "gained"
	KindLost   Kind = "lost"
	KindSplit  Kind = "split"
)

// WriteTo prints the outcome for people.
func (o Outcome) WriteTo(w io.Writer) (int64, error) {
	t := &printer{width: 9}
	fmt.Fprintf(t, "%s: model %s, window %s: %s rows of %s checkouts (%s duplicates) and %s clicks in %s\n\n"+
		"against %s:\n",
		o.Into, o.Model, o.Window, grouped(o.Written), grouped(o.Checkouts), grouped(o.Duplicates), grouped(o.Clicks),
		o.Elapsed.Round(10*time.Millisecond), rowsTable)
	t.line(o.Same, "same", "checkouts keep their click, or keep having none")
	t.line(o.Gained, "gained", "have no click now, and would have one")
	t.line(o.Lost, "lost", "have a click now, and would have none")
	t.line(o.Moved, "moved", "would have another click")
	if o.Model == ModelLinear {
		t.line(o.Split, "split", "would be credited to several clicks")
	}
	t.line(o.New, "new", "are not in the current table")
	t.some(o.Left, "left", "are in the current table, and Kafka does not hold them: not in the new one")
	share := func(n, of int64) string {
		if of == 0 {
			return "none"
		}
		return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
	}
	fmt.Fprintf(t, "\nwith a click: %s now, %s then (%s)\n",
		share(o.AttributedNow, o.Checkouts-o.New), share(o.AttributedThen, o.Checkouts), grouped(o.AttributedThen))
	for _, reason := range sortedKeys(o.Invalid) {
		fmt.Fprintf(t, "no event: %s records, reason %s\n", grouped(o.Invalid[reason]), reason)
	}
	t.notes(o.Notes)
	for _, e := range o.Examples {
		fmt.Fprintf(t, "\n%s checkout %s (%s-%d, offset %d)\n  now:  %s\n  then: %s\n",
			e.Kind, quote(e.CheckoutID), e.Topic, e.Partition, e.Offset, e.Actual, e.Expected)
	}
	return t.Buffer.WriteTo(w)
}
