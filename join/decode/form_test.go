package decode

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firstclick/internal/jointest"
)

// A record is judged by what it is, whatever forms its decoder has learned: real events, spoiled at
// some place, after others.
func TestFormsChangeNothing(t *testing.T) {
	events := append(jointest.Lines(t, "clicks.jsonl"), jointest.Lines(t, "checkouts.jsonl")...)
	event := rapid.SampledFrom(events)
	piece := rapid.SampledFrom([]string{"", `"`, `\`, `\"`, ",", ":", " ", "}", "{", "[]", "0", "-", "e1", "null",
		"é", "\xff", "\x00", "\n", `"x":1,`, `"user_id": 3, `})
	rapid.Check(t, func(t *rapid.T) {
		seen := rapid.SliceOfN(event, 0, 4).Draw(t, "seen")
		value := bytes.Clone(rapid.OneOf(event, rapid.SampledFrom(append(seen, events[0]))).Draw(t, "value"))
		for range rapid.IntRange(0, 3).Draw(t, "spoiled") {
			at := rapid.IntRange(0, len(value)).Draw(t, "at")
			gone := min(rapid.IntRange(0, 3).Draw(t, "gone"), len(value)-at)
			value = append(value[:at:at], append([]byte(piece.Draw(t, "piece")), value[at+gone:]...)...)
		}
		same(t, time.UTC, value, seen...)
		same(t, time.UTC, events[0], append(seen, value)...) // nothing wrong is learned from it
	})
}

func FuzzForms(f *testing.F) {
	clicks := jointest.Lines(f, "clicks.jsonl")
	f.Add(clicks[0], clicks[1])
	f.Add([]byte(`{"click_id":"a", "x":[1], "user_id":1,"product_id":"p","datetime_occured":"2026-11-23 00:00:00"} `),
		[]byte(`{"click_id":"a", "x":"b", "user_id":"1","product_id":"p","datetime_occured":"2026-11-23 00:00:00"}`))
	f.Add([]byte(`{"click_id":"a","\u0078":1,"é":2}`), []byte("{\"click_id\":\"a\",\"\\u0078\":1,\"\xff\":2}"))
	f.Fuzz(func(t *testing.T, before, value []byte) {
		same(t, time.UTC, value, before)
		same(t, time.UTC, value, before, value, before)
	})
}

// A decoder that finds none of its forms learns the new one, and goes on at the old pace: no form
// is kept that is too long to be of use.
func TestForms(t *testing.T) {
	long := []byte(`{"` + string(bytes.Repeat([]byte("x"), maxFormText)) + `":1}`)
	many := append(append([]byte(`{"a":1`), bytes.Repeat([]byte(`,"a":1`), maxSteps)...), '}')
	for _, c := range []struct {
		name   string
		value  []byte
		learns bool
	}{
		{"members", []byte(` { "click_id" : "a" , "b" : [ {} ] } `), true},
		{"no member", []byte(`{}`), false},
		{"not valid behind its end", []byte(`{"a":1} x`), false},
		{"not valid", []byte(`{"a":1,}`), false},
		{"names beyond ASCII", []byte(`{"é":1}`), false},
		{"long", long, false},
		{"many", many, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(time.UTC)
			_ = d.Click(c.value, &Click{})
			d.scan.b = c.value
			if d.known() != c.learns {
				t.Errorf("known: %v, want %v", !c.learns, c.learns)
			}
		})
	}
}
