package audit

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

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

func (r *Report) counter(k Kind) *int64 {
	switch k {
	case KindMissing:
		return &r.Missing
	case KindExtra:
		return &r.Extra
	case KindUnfilled:
		return &r.Unfilled
	case KindExplained:
		return &r.Explained
	case KindRefusedClick:
		return &r.RefusedClick
	case KindPending:
		return &r.PendingRows
	case KindUnverifiable:
		return &r.Unverifiable
	case KindDeadLetterMissing:
		return &r.DeadLettersMissing
	case KindDeadLetterReason:
		return &r.DeadLettersReason
	case KindDeadLetterUnexplained:
		return &r.DeadLettersUnexplained
	default:
		return &r.Different
	}
}

// WriteTo prints the report for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "group %s, window %s: read %s clicks and %s checkouts (%s duplicates), %s rows (%s with a click, %s without) in %s\n\n",
		r.Group, r.Window, grouped(r.Clicks), grouped(r.Checkouts), grouped(r.Duplicates), grouped(r.Rows), grouped(r.Attributed),
		grouped(r.Unattributed), r.Elapsed.Round(10*time.Millisecond))
	line := func(n int64, name, meaning string) { fmt.Fprintf(&b, "%14s  %-12s %s\n", grouped(n), name, meaning) }
	line(r.Missing, "missing", "checkouts without a row")
	line(r.Extra, "extra", "rows without a checkout")
	line(r.Different, "different", "rows that are not what they should be")
	line(r.Unfilled, "unfilled", "rows without the name of a user that exists")
	line(r.Explained, "explained", "rows that differ because of events that came too late; `firstclick repair` mends them")
	if r.RefusedClick > 0 {
		line(r.RefusedClick, "refused", "rows whose first click Postgres refuses, as a dead letter says: they have a later one or none")
	}
	if r.Unverifiable > 0 {
		line(r.Unverifiable, "unverifiable", "rows that need records that Kafka no longer holds")
	}
	if r.Doubtful > 0 {
		line(r.Doubtful, "", "of these: rows of a time from which Kafka most likely holds all records")
	}
	if r.BeforeStart > 0 {
		line(r.BeforeStart, "earlier", "rows of before the group's start: another job's, not judged")
	}
	if r.Pending() > 0 {
		line(r.PendingCheckouts, "pending", "checkouts not yet read by firstclick")
		line(r.PendingClicks, "pending", "clicks not yet read by firstclick")
		line(r.PendingRows, "pending", "rows that wait for these clicks, or for a user's name")
	}
	r.writeDeadLetters(line)
	fmt.Fprintf(&b, "\nexpected  %s\nactual    %s\n", r.ExpectedDigest, r.ActualDigest)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	writeExamples(&b, r.Examples)
	b.WriteString("\n" + r.conclusion() + "\n")
	return b.WriteTo(w)
}

// conclusion is the report in one sentence.
func (r Report) conclusion() string {
	switch {
	case r.Verdict == VerdictRed:
		return "NOT as it should be."
	case r.Verdict == VerdictCannotTell && r.Judged == 0:
		return "CANNOT TELL: no row could be judged."
	case r.Verdict == VerdictCannotTell:
		return "CANNOT TELL: nothing wrong was found, but rows could not be judged of which Kafka should still hold the records."
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

func (r Report) writeDeadLetters(line func(int64, string, string)) {
	var sum int64
	reasons := ""
	for _, reason := range slices.Sorted(maps.Keys(r.DeadLetters)) {
		sum += r.DeadLetters[reason]
		reasons += fmt.Sprintf(" %s %s", reason, grouped(r.DeadLetters[reason]))
	}
	line(sum, "dead letters", "by reason:"+orDefault(reasons, " none"))
	if r.DeadLettersMissing > 0 {
		line(r.DeadLettersMissing, "", "records that should be dead letters and are not")
	}
	if r.DeadLettersReason > 0 {
		line(r.DeadLettersReason, "", "dead letters with a wrong reason")
	}
	if r.DeadLettersUnexplained > 0 {
		line(r.DeadLettersUnexplained, "", "dead letters of records that have nothing wrong, or do not exist")
	}
}

func writeExamples(b *bytes.Buffer, examples []Example) {
	byKind := slices.Clone(examples)
	slices.SortStableFunc(byKind, func(x, y Example) int { return bytes.Compare([]byte(x.Kind), []byte(y.Kind)) })
	for _, e := range byKind {
		fmt.Fprintf(b, "\n%s", e.Kind)
		if e.CheckoutID != "" {
			fmt.Fprintf(b, " checkout %s", quote(e.CheckoutID))
		}
		if e.Topic != "" && e.Partition >= 0 {
			fmt.Fprintf(b, " (%s-%d, offset %d)", e.Topic, e.Partition, e.Offset)
		}
		fmt.Fprintf(b, "\n  expected: %s\n  there is: %s\n", e.Expected, e.Actual)
	}
}

// WriteTo prints what Repair did for people.
func (r RepairReport) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	if r.Late == 0 {
		b.WriteString("Nothing to repair: no late events are recorded that were not repaired.\n")
		return b.WriteTo(w)
	}
	fmt.Fprintf(&b, "%s late events: %s rows moved to an earlier click, %s events marked as repaired, in %s\n",
		grouped(r.Late), grouped(r.Moved), grouped(r.Repaired), r.Elapsed.Round(10*time.Millisecond))
	if r.Refused > 0 {
		fmt.Fprintf(&b, "%s rows keep the click they have, for Postgres refuses the earlier one: see their dead letters, reason refused_click\n", grouped(r.Refused))
	}
	if r.Kept > 0 {
		fmt.Fprintf(&b, "%s rows had moved by themselves meanwhile\n", grouped(r.Kept))
	}
	if r.Left > 0 {
		fmt.Fprintf(&b, "%s late checkouts are no longer in Kafka and stay as they are\n", grouped(r.Left))
	}
	if r.Ahead > 0 {
		fmt.Fprintf(&b, "%s events stay open: they were not late but dated far ahead of the clock, and rows that they concern may still come or move. Run repair again when their time has passed\n", grouped(r.Ahead))
	}
	if r.Unread > 0 {
		fmt.Fprintf(&b, "%s late clicks stay open: some shard has not read them yet, and may have rows that they change. Run repair again when it has\n", grouped(r.Unread))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	writeExamples(&b, r.Examples)
	return b.WriteTo(w)
}

// quote makes foreign text safe for a terminal, and short.
func quote(s string) string {
	const longest = 80
	if len(s) > longest {
		cut := longest
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	for _, c := range s {
		if !strconv.IsPrint(c) || c == '"' || c == ' ' {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
