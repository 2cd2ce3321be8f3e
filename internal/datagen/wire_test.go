package datagen

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"pgregory.net/rapid"
)

// field is a member of an event, in order.
type field struct {
	name  string
	value any // string, json.Number
}

// parse reads a flat JSON object and keeps the order of its members.
func parse(t testing.TB, line []byte) []field {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	next := func() any {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return tok
	}
	if next() != json.Delim('{') {
		t.Fatalf("%q is no object", line)
	}
	var fields []field
	for d.More() {
		fields = append(fields, field{next().(string), next()})
	}
	next()
	return fields
}

// dumps is Python's json.dumps by its documentation. It shares no code with the code under test.
func dumps(t testing.TB, fields []field) string {
	t.Helper()
	var parts []string
	for _, f := range fields {
		switch v := f.value.(type) {
		case string:
			parts = append(parts, dumpText(f.name)+": "+dumpText(v))
		case json.Number:
			parts = append(parts, dumpText(f.name)+": "+dumpNumber(t, v.String()))
		default:
			t.Fatalf("member %s is a %T", f.name, v)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func dumpText(s string) string {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}
	var b strings.Builder
	for _, r := range s {
		if e, ok := short[r]; ok {
			b.WriteString(e)
			continue
		}
		if r >= 0x20 && r < 0x7f {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, "\\u%04x", u)
		}
	}
	return `"` + b.String() + `"`
}

func dumpNumber(t testing.TB, text string) string {
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(n, 10)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	short := strconv.FormatFloat(f, 'f', -1, 64)
	if f == math.Trunc(f) {
		short += ".0"
	}
	return short
}

// signature is the names and types of an event's members, in order.
func signature(fields []field) string {
	var parts []string
	for _, f := range fields {
		kind := "text"
		if n, ok := f.value.(json.Number); ok {
			kind = "int"
			if strings.Contains(n.String(), ".") {
				kind = "float"
			}
		}
		parts = append(parts, f.name+" "+kind)
	}
	return strings.Join(parts, ", ")
}

// seedLines are real events of the original generator.
func seedLines(t testing.TB, topic topic) [][]byte {
	t.Helper()
	name := [...]string{"clicks.jsonl", "checkouts.jsonl"}[topic]
	f, err := os.Open("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines [][]byte
	for in := bufio.NewScanner(f); in.Scan(); {
		lines = append(lines, bytes.Clone(in.Bytes()))
	}
	if len(lines) < 1000 {
		t.Fatalf("%s has %d lines", name, len(lines))
	}
	return lines
}

// made runs a script over n events, a millisecond apart, and returns all that it produces.
func made(cfg Config, n int64) *batch {
	cfg, err := cfg.checked()
	if err != nil {
		panic(err)
	}
	s := newScript(cfg, [topics]int32{4, 3})
	b := &batch{}
	for i := range n {
		s.step(b, testStart.UnixMicro()+i*1000)
	}
	for s.drain(b) {
	}
	return b
}

var testStart = time.Date(2026, 11, 23, 0, 46, 50, 811_000_000, time.UTC)

func (b *batch) value(r *record) []byte {
	if r.from < 0 {
		return nil
	}
	return b.arena[r.from:r.to]
}

func TestWireIsTheOriginals(t *testing.T) {
	var want [topics]string
	for to := range topics {
		for _, line := range seedLines(t, to) {
			fields := parse(t, line)
			if got := dumps(t, fields); got != string(line) {
				t.Fatalf("the rule of this test is not the original's\ngot  %s\nwant %s", got, line)
			}
			if want[to] == "" {
				want[to] = signature(fields)
			}
			if got := signature(fields); got != want[to] {
				t.Fatalf("the original has two shapes: %s and %s", got, want[to])
			}
		}
	}
	b := made(
		Config{
			Seed:        3,
			UnknownUser: 0.1,
			HotKey:      0.1,
			Future:      0.1,
			OutOfOrder:  0.1,
			Late:        0.1,
			Duplicate:   0.1,
			Conflict:    0.1,
		},
		30_000,
	)
	escaped := 0
	for i := range b.records {
		r := &b.records[i]
		line := b.value(r)
		fields := parse(t, line)
		if got := signature(fields); got != want[r.topic] {
			t.Fatalf("got  %s\nwant %s", got, want[r.topic])
		}
		if got := dumps(t, fields); got != string(line) {
			t.Fatalf("got  %s\nwant %s", line, got)
		}
		for _, f := range fields {
			checkMember(t, f)
		}
		if bytes.Contains(line, []byte(`\u`)) {
			escaped++
		}
	}
	if escaped == 0 {
		t.Error("no event has a character beyond ASCII")
	}
}

// checkMember checks the format of a value.
func checkMember(t testing.TB, f field) {
	t.Helper()
	text, _ := f.value.(string)
	var ok bool
	switch f.name {
	case "click_id", "checkout_id", "product_id":
		ok = len(text) == 36 && text[14] == '4' && strings.ContainsRune("89ab", rune(text[19])) &&
			strings.Trim(text, "0123456789abcdef-") == ""
	case "datetime_occured":
		_, err := time.Parse("2006-01-02 15:04:05.000", text)
		ok = err == nil && len(text) == 23
	case "shipping_address", "billing_address":
		ok = strings.Count(text, "\n") == 1
	case "ip_address":
		ok = strings.Count(text, ".") == 3
	case "url":
		ok = strings.HasPrefix(text, "http") && !strings.ContainsAny(text, " '")
	case "price", "total_amount":
		v, err := f.value.(json.Number).Float64()
		ok = err == nil && v > 0 && v < 1000
	case "user_id":
		v, err := f.value.(json.Number).Int64()
		ok = err == nil && v > 0
	default:
		ok = text != ""
	}
	if !ok {
		t.Fatalf("member %s is %q", f.name, f.value)
	}
}

func TestStringsAreEscapedAsPythonDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(
			rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("\x00\x1f\x7f\u0080\"\\/\n\r\t\b\f😀é\u2028"))),
		).Draw(
			t,
			"s",
		)
		s = strings.ToValidUTF8(s, "?")
		if got, want := string(appendString(nil, s)), dumpText(s); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestCentsArePrintedAsPythonDoes(t *testing.T) {
	for cents := 0; cents <= maxCents; cents++ {
		want := dumpNumber(t, fmt.Sprintf("%d.%02d", cents/100, cents%100))
		if got := string(appendCents(nil, cents)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func BenchmarkEvents(b *testing.B) {
	cfg, err := Config{Seed: 1}.checked()
	if err != nil {
		b.Fatal(err)
	}
	s := newScript(cfg, [topics]int32{4, 4})
	out := &batch{}
	clock := testStart.UnixMicro()
	b.ReportAllocs()
	for b.Loop() {
		if len(out.records) >= maxBatch {
			out.reset()
		}
		clock += 5
		s.step(out, clock)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkPools(b *testing.B) {
	for b.Loop() {
		newPools(1)
	}
}
