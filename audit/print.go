package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"firstclick/internal/progress"
)

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

// grouped formats 1234567 as 1,234,567.
func grouped(n int64) string { return progress.Grouped(n) }

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
