package audit

import "time"

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

	Judged       int64 `json:"judged"`        // rows that were held against Kafka's records, right or wrong
	Missing      int64 `json:"missing"`       // checkouts below the positions without a row or a dead letter
	Extra        int64 `json:"extra"`         // rows whose checkout_id is in no record
	Different    int64 `json:"different"`     // rows with another click or other own columns than recomputed
	Unfilled     int64 `json:"unfilled"`      // rows without the name of a user that exists
	Explained    int64 `json:"explained"`     // rows that differ as firstclick.late says; `firstclick repair` mends them
	RefusedClick int64 `json:"refused_click"` // rows whose first click Postgres refuses, as a dead letter says: they have a later one or none
	Unverifiable int64 `json:"unverifiable"`  // rows that need records that Kafka no longer holds
	Doubtful     int64 `json:"doubtful"`      // of these: rows of a time from which Kafka most likely holds all records
	BeforeStart  int64 `json:"before_start"`  // rows of before the group's start: another job's

	PendingCheckouts int64 `json:"pending_checkouts"` // records at or above the stored positions
	PendingClicks    int64 `json:"pending_clicks"`
	PendingRows      int64 `json:"pending_rows"` // rows that pending clicks (or users just added) will still move

	DeadLetters            map[string]int64 `json:"dead_letters"`             // all that the group has, by reason
	DeadLettersMissing     int64            `json:"dead_letters_missing"`     // records that should be dead letters and are not
	DeadLettersReason      int64            `json:"dead_letters_reason"`      // with another reason than found here
	DeadLettersUnexplained int64            `json:"dead_letters_unexplained"` // of records that have nothing wrong, or do not exist

	// Digests of (checkout_id, click_id, click_time) over all rows, whatever their order: equal tables have equal digests.
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

// OK is true when nothing is wrong that nothing explains. Pending, explained and unverifiable rows,
// and those whose click was refused, are not wrong. It does not say that anything could be judged:
// see [Report.Verdict].
func (r Report) OK() bool {
	return r.Missing == 0 && r.Extra == 0 && r.Different == 0 && r.Unfilled == 0 &&
		r.DeadLettersMissing == 0 && r.DeadLettersReason == 0 && r.DeadLettersUnexplained == 0
}

// The verdicts of Verify.
const (
	VerdictGreen      Verdict = "green"       // nothing wrong, and every row was judged whose records Kafka should hold
	VerdictRed        Verdict = "red"         // something is wrong: see [Report.OK]
	VerdictCannotTell Verdict = "cannot_tell" // nothing wrong was found, but too little could be judged to say that nothing is
)

// verdict is red where anything is wrong. Rows that are older than what Kafka holds are no news: they are counted, and the rest decides. But where
// no row at all could be judged, or rows could not that Kafka most likely should still tell of, nobody can tell.
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
