package decode_test

import (
	"testing"
	"time"

	"firstclick/internal/jointest"
	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/join/window"
)

// A click in steady state costs no allocation: decoded, hashed, inserted, and looked up, while old
// ones expire. The window takes memory by chunks of 16 KiB, far less than one for each click.
func TestClickAllocatesNothing(t *testing.T) {
	clicks := jointest.Lines(t, "clicks.jsonl")
	d, h, w := decode.New(time.UTC), event.NewHasher(1), window.New(0)
	for i := range 200_000 { // a window at work
		w.Insert(jointest.Key(i/2), jointest.Start+int64(i)*1000, jointest.ID(i))
	}
	var c decode.Click
	const minute = int64(60_000_000)
	i := 200_000
	if n := testing.AllocsPerRun(50_000, func() {
		if err := d.Click(clicks[i%len(clicks)], &c); err != nil {
			t.Fatal(err)
		}
		at := jointest.Start + int64(i)*1000
		key := h.Key(int32(i), c.Product)
		w.Insert(key, at, c.ID)
		w.First(key, at-60*minute, at)
		if i++; i%1000 == 0 {
			w.Expire(at - 3*minute)
		}
	}); n != 0 {
		t.Errorf("%v allocations a click", n)
	}
}
