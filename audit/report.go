package audit

import (
	"cmp"
	"fmt"
	"io"
	"time"
)

// Report is what Verify found. All numbers count records, rows or dead letters; see the fields.
type Report struct {
	Group  string        `json:"group"`
	Window time.Duration `json:"window_ns"`

	Clicks       int64 `json:"clicks"`       // valid clicks read from Kafka
	Checkouts    int64 `json:"checkouts"`    // valid checkouts read from Kafka, duplicates included
	Duplicates   int64 `json:"duplicates"`   // checkouts beyond the first of their checkout_id
	Rows         int64 `json:"rows"`         // rows in commerce.attributed_checkouts
	Attributed   int64 `json:"attributed"`   // rows with a click
	Unattributed int64 `json:"unattributed"` // rows without

	Verdict Verdict `json:"verdict"` // green, red or cannot_tell

	Judged       int64 `json:"judged"`        // rows that were compared with Kafka's records, right or wrong
	Missing      int64 `json:"missing"`       // checkouts below the positions without a row or a dead letter
	Extra        int64 `json:"extra"`         // rows whose checkout_id is in no record
	Different    int64 `json:"different"`     // rows with another click or other own columns than recomputed
	Unfilled     int64 `json:"unfilled"`      // rows without the name of a user that exists
	Explained    int64 `json:"explained"`     // rows that differ as firstclick.late says
	RefusedClick int64 `json:"refused_click"` // rows whose first click Postgres refuses
	Unverifiable int64 `json:"unverifiable"`  // rows that need records that Kafka no longer holds
	Doubtful     int64 `json:"doubtful"`      // of these: rows of a time from which Kafka most likely holds all records
	BeforeStart  int64 `json:"before_start"`  // rows of before the group's start: another job's

	PendingCheckouts int64 `json:"pending_checkouts"` // records at or above the stored positions
	PendingClicks    int64 `json:"pending_clicks"`
	PendingRows      int64 `json:"pending_rows"` // rows that pending clicks (or users just added) will still move

	DeadLetters            map[string]int64 `json:"dead_letters"`             // all that the group has, by reason
	DeadLettersMissing     int64            `json:"dead_letters_missing"`     // records that should be dead letters
	DeadLettersReason      int64            `json:"dead_letters_reason"`      // with another reason than found here
	DeadLettersUnexplained int64            `json:"dead_letters_unexplained"` // of sound records, or none

	// Digests of (checkout_id, click_id, click_time) over all rows, whatever their order: equal
	// tables have equal digests.
	ExpectedDigest string `json:"expected_digest"`
	ActualDigest   string `json:"actual_digest"`

	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// Kind says in which way something differs.
type Kind string

// The kinds of examples.
const (
	KindMissing               Kind = "missing"
	KindExtra                 Kind = "extra"
	KindDifferent             Kind = "different"
	KindUnfilled              Kind = "unfilled"
	KindExplained             Kind = "explained"
	KindRefusedClick          Kind = "refused_click"
	KindPending               Kind = "pending"
	KindUnverifiable          Kind = "unverifiable"
	KindDeadLetterMissing     Kind = "dead_letter_missing"
	KindDeadLetterReason      Kind = "dead_letter_reason"
	KindDeadLetterUnexplained Kind = "dead_letter_unexplained"
	KindMoved                 Kind = "moved" // by Repair
)

// Example is one finding with its place. Partition and Offset are -1 where there is no record.
type Example struct {
	Kind       Kind   `json:"kind"`
	CheckoutID string `json:"checkout_id,omitempty"`
	Expected   string `json:"expected,omitempty"`
	Actual     string `json:"actual,omitempty"`
	Topic      string `json:"topic,omitempty"`
	Partition  int32  `json:"partition"`
	Offset     int64  `json:"offset"`
}

// Pending is how much lies at or above the stored positions, or waits for it.
func (r Report) Pending() int64 { return r.PendingCheckouts + r.PendingClicks + r.PendingRows }

// OK is true if nothing is wrong. Rows that are pending, explained or unverifiable, or whose click
// was refused, are not wrong. OK does not say that anything could be judged: see [Report.Verdict].
func (r Report) OK() bool {
	return r.Missing == 0 && r.Extra == 0 && r.Different == 0 && r.Unfilled == 0 &&
		r.DeadLettersMissing == 0 && r.DeadLettersReason == 0 && r.DeadLettersUnexplained == 0
}

// The verdicts of Verify.
const (
	VerdictGreen      Verdict = "green"       // nothing wrong, and every row was judged whose records Kafka should hold
	VerdictRed        Verdict = "red"         // something is wrong: see [Report.OK]
	VerdictCannotTell Verdict = "cannot_tell" // nothing wrong was found, but too little could be judged
)

// verdict is red if anything is wrong. Rows that are older than what Kafka holds do not count. It
// cannot tell if no row was judged, or if rows were not that Kafka should still have records of.
func (r Report) verdict(known bool) Verdict {
	switch {
	case !r.OK():
		return VerdictRed
	case !known, r.Doubtful > 0, r.Judged == 0 && r.Rows+r.PendingCheckouts > 0:
		return VerdictCannotTell
	default:
		return VerdictGreen
	}
}

// add counts a finding, and keeps it as an example while there are fewer than limit of its kind.
func (r *Report) add(e Example, limit int) {
	*r.counter(e.Kind)++
	shown := 0
	for _, x := range r.Examples {
		if x.Kind == e.Kind {
			shown++
		}
	}
	if shown < limit {
		r.Examples = append(r.Examples, e)
	}
}

// counter is the number that counts findings of a kind.
func (r *Report) counter(k Kind) *int64 {
	return map[Kind]*int64{
		KindMissing: &r.Missing, KindExtra: &r.Extra, KindDifferent: &r.Different, KindUnfilled: &r.Unfilled,
		KindExplained: &r.Explained, KindRefusedClick: &r.RefusedClick, KindPending: &r.PendingRows,
		KindUnverifiable: &r.Unverifiable, KindDeadLetterMissing: &r.DeadLettersMissing,
		KindDeadLetterReason: &r.DeadLettersReason, KindDeadLetterUnexplained: &r.DeadLettersUnexplained,
	}[k]
}

// WriteTo prints the report for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	t := &printer{width: 12}
	fmt.Fprintf(t, "group %s, window %s: read %s clicks and %s checkouts (%s duplicates), "+
		"%s rows (%s with a click, %s without) in %s\n\n",
		r.Group, r.Window, grouped(r.Clicks), grouped(r.Checkouts), grouped(r.Duplicates), grouped(r.Rows),
		grouped(r.Attributed), grouped(r.Unattributed), r.Elapsed.Round(10*time.Millisecond))
	t.line(r.Missing, "missing", "checkouts without a row")
	t.line(r.Extra, "extra", "rows without a checkout")
	t.line(r.Different, "different", "rows that are not what they should be")
	t.line(r.Unfilled, "unfilled", "rows without the name of a user that exists")
	t.line(r.Explained, "explained",
		"rows that differ because of events that came too late; `firstclick repair` mends them")
	t.some(r.RefusedClick, "refused",
		"rows whose first click Postgres refuses, as a dead letter says: they have a later one or none")
	t.some(r.Unverifiable, "unverifiable", "rows that need records that Kafka no longer holds")
	t.some(r.Doubtful, "", "of these: rows of a time from which Kafka most likely holds all records")
	t.some(r.BeforeStart, "earlier", "rows of before the group's start: another job's, not judged")
	if r.Pending() > 0 {
		t.line(r.PendingCheckouts, "pending", "checkouts not yet read by firstclick")
		t.line(r.PendingClicks, "pending", "clicks not yet read by firstclick")
		t.line(r.PendingRows, "pending", "rows that wait for these clicks, or for a user's name")
	}
	var sum int64
	reasons := ""
	for _, reason := range sortedKeys(r.DeadLetters) {
		sum += r.DeadLetters[reason]
		reasons += fmt.Sprintf(" %s %s", reason, grouped(r.DeadLetters[reason]))
	}
	t.line(sum, "dead letters", "by reason:"+cmp.Or(reasons, " none"))
	t.some(r.DeadLettersMissing, "", "records that should be dead letters and are not")
	t.some(r.DeadLettersReason, "", "dead letters with a wrong reason")
	t.some(r.DeadLettersUnexplained, "", "dead letters of records that have nothing wrong, or do not exist")
	fmt.Fprintf(t, "\nexpected  %s\nactual    %s\n", r.ExpectedDigest, r.ActualDigest)
	t.notes(r.Notes)
	t.examples(r.Examples)
	t.WriteString("\n" + r.conclusion() + "\n")
	return t.Buffer.WriteTo(w)
}

// conclusion is the report in one sentence.
func (r Report) conclusion() string {
	switch {
	case r.Verdict == VerdictRed:
		return "NOT as it should be."
	case r.Verdict == VerdictCannotTell && r.Judged == 0:
		return "CANNOT TELL: no row could be judged."
	case r.Verdict == VerdictCannotTell:
		return "CANNOT TELL: nothing wrong was found, " +
			"but rows could not be judged of which Kafka should still hold the records."
	case r.Pending() > 0:
		return "Nothing wrong so far; firstclick is not through yet, see pending."
	case r.Explained > 0:
		return "Nothing wrong but what came too late: run `firstclick repair`."
	case r.Unverifiable > 0:
		return "Everything that Kafka still tells of is as it should be; the unverifiable rows are older."
	default:
		return "Everything as it should be."
	}
}
