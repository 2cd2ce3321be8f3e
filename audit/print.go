package audit

import (
	"bytes"
	"cmp"
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

// printer is what a report is printed into.
type printer struct {
	bytes.Buffer
	width int // of the names
}

// line prints a number and what it counts.
func (t *printer) line(n int64, name, meaning string) {
	fmt.Fprintf(t, "%14s  %-*s %s\n", grouped(n), t.width, name, meaning)
}

// some prints a line where there is anything to count.
func (t *printer) some(n int64, name, meaning string) {
	if n > 0 {
		t.line(n, name, meaning)
	}
}

func (t *printer) notes(notes []string) {
	for _, n := range notes {
		fmt.Fprintf(t, "note: %s\n", n)
	}
}

// examples prints findings, by kind.
func (t *printer) examples(examples []Example) {
	byKind := slices.Clone(examples)
	slices.SortStableFunc(byKind, func(x, y Example) int { return cmp.Compare(x.Kind, y.Kind) })
	for _, e := range byKind {
		fmt.Fprintf(t, "\n%s", e.Kind)
		if e.CheckoutID != "" {
			fmt.Fprintf(t, " checkout %s", quote(e.CheckoutID))
		}
		if e.Topic != "" && e.Partition >= 0 {
			fmt.Fprintf(t, " (%s-%d, offset %d)", e.Topic, e.Partition, e.Offset)
		}
		fmt.Fprintf(t, "\n  expected: %s\n  there is: %s\n", e.Expected, e.Actual)
	}
}

// WriteTo prints the report for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	t := &printer{width: 12}
	fmt.Fprintf(t, "group %s, window %s: read %s clicks and %s checkouts (%s duplicates), %s rows (%s with a click, %s without) in %s\n\n",
		r.Group, r.Window, grouped(r.Clicks), grouped(r.Checkouts), grouped(r.Duplicates), grouped(r.Rows), grouped(r.Attributed),
		grouped(r.Unattributed), r.Elapsed.Round(10*time.Millisecond))
	t.line(r.Missing, "missing", "checkouts without a row")
	t.line(r.Extra, "extra", "rows without a checkout")
	t.line(r.Different, "different", "rows that are not what they should be")
	t.line(r.Unfilled, "unfilled", "rows without the name of a user that exists")
	t.line(r.Explained, "explained", "rows that differ because of events that came too late; `firstclick repair` mends them")
	t.some(r.RefusedClick, "refused", "rows whose first click Postgres refuses, as a dead letter says: they have a later one or none")
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

// WriteTo prints what Repair did for people.
func (r RepairReport) WriteTo(w io.Writer) (int64, error) {
	t := &printer{}
	if r.Late == 0 {
		t.WriteString("Nothing to repair: no late events are recorded that were not repaired.\n")
		return t.Buffer.WriteTo(w)
	}
	fmt.Fprintf(t, "%s late events: %s rows moved to an earlier click, %s events marked as repaired, in %s\n",
		grouped(r.Late), grouped(r.Moved), grouped(r.Repaired), r.Elapsed.Round(10*time.Millisecond))
	for _, x := range []struct {
		n    int64
		says string
	}{
		{r.Refused, "rows keep the click they have, for Postgres refuses the earlier one: see their dead letters, reason refused_click"},
		{r.Kept, "rows had moved by themselves meanwhile"},
		{r.Left, "late checkouts are no longer in Kafka and stay as they are"},
		{r.Ahead, "events stay open: they were not late but dated far ahead of the clock, " +
			"and rows that they concern may still come or move. Run repair again when their time has passed"},
		{r.Unread, "late clicks stay open: some shard has not read them yet, and may have rows that they change. Run repair again when it has"},
	} {
		if x.n > 0 {
			fmt.Fprintf(t, "%s %s\n", grouped(x.n), x.says)
		}
	}
	t.notes(r.Notes)
	t.examples(r.Examples)
	return t.Buffer.WriteTo(w)
}

// WriteTo prints the comparison for people.
func (r Comparison) WriteTo(w io.Writer) (int64, error) {
	t := &printer{width: 12}
	fmt.Fprintf(t, "%s against Kafka, window %s: read %s clicks and %s checkouts (%s duplicates), %s rows (%s with a click) in %s\n\n",
		r.Table, r.Window, grouped(r.Clicks), grouped(r.Checkouts), grouped(r.Duplicates), grouped(r.Rows), grouped(r.Attributed),
		r.Elapsed.Round(10*time.Millisecond))
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

// WriteTo prints the outcome for people.
func (o Outcome) WriteTo(w io.Writer) (int64, error) {
	t := &printer{width: 9}
	fmt.Fprintf(t, "%s: model %s, window %s: %s rows of %s checkouts (%s duplicates) and %s clicks in %s\n\nagainst %s:\n",
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
	return escape(s)
}

// escape makes foreign text safe for a terminal, whole.
func escape(s string) string {
	for _, c := range s {
		if !strconv.IsPrint(c) || c == '"' || c == ' ' || c == utf8.RuneError {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
