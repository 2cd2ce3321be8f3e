package datagen

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"firstclick/join/decode"
	joined "firstclick/join/event"
)

// Every kind is sent, on every topic that it is for, and the pipeline's decoder refuses it for the
// reason that the summary expects.
func TestPoisonIsRefusedForItsReason(t *testing.T) {
	kinds := Poisons()
	b := made(Config{Seed: 17, Poison: 1}, int64(3*len(kinds)))
	d := decode.New(time.UTC)
	sent := map[badRecord]int{}
	for i := range b.records {
		r := &b.records[i]
		value := b.value(r)
		got := verdict(d, r, value)
		if r.mark.role != rolePoison {
			if got != "" {
				t.Fatalf("%s is refused: %s", value, got)
			}
			continue
		}
		kind := kinds[r.mark.poison]
		sent[badRecord{int(r.mark.poison), r.topic}]++
		want := kind.Reason
		if want == "refused" {
			want = "" // by Postgres
		}
		if got != want {
			t.Errorf("%s on topic %d: reason %q, want %q: %.300q", kind.Kind, r.topic, got, want, value)
		}
	}
	for _, turn := range badRecords(kinds) {
		if sent[turn] == 0 {
			t.Errorf("%s is never sent to topic %d", kinds[turn.kind].Kind, turn.topic)
		}
	}
	if len(sent) != len(badRecords(kinds)) {
		t.Errorf("%d kinds sent, want %d", len(sent), len(badRecords(kinds)))
	}
}

// verdict returns the reason of the decoder, or of the guard against future times, or none.
func verdict(d *decode.Decoder, r *record, value []byte) string {
	var c decode.Click
	var k joined.Checkout
	var err error
	var at int64
	if r.topic == clicks {
		err = d.Click(value, &c)
		at = c.Time
	} else {
		_, err = d.Checkout(value, &k, nil)
		at = k.Time
	}
	if refused, ok := errors.AsType[*joined.DecodeError](err); ok {
		return string(refused.Reason)
	}
	if at > r.clock+5*minute {
		return "future"
	}
	return ""
}

func TestTooLargeRecords(t *testing.T) {
	b := made(Config{Seed: 19, TooLarge: 1}, 8)
	for i := range b.records {
		r := &b.records[i]
		if r.mark.role != roleTooLarge {
			continue
		}
		if value := b.value(r); len(value) <= joined.MaxRecord || len(value) > largest || !json.Valid(value) {
			t.Errorf("%d bytes, valid: %v", len(value), json.Valid(value))
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"share above 1":          {Late: 1.1},
		"share below 0":          {Poison: -0.1},
		"share that is none":     {HotKey: math.NaN()},
		"exponent of one":        {Zipf: 1},
		"shares above 1":         {Late: 0.6, OutOfOrder: 0.6},
		"endless rate":           {Rate: math.Inf(1)},
		"negative count":         {Count: -1},
		"one topic for both":     {ClicksTopic: "events", CheckoutsTopic: "events"},
		"renames, no database":   {Renames: 1},
		"aborts, no transaction": {Aborted: 0.5},
		"negative users":         {Users: -1},
		"negative partitions":    {Partitions: -1},
		"an unknown codec":       {Compression: "zip"},
	} {
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
