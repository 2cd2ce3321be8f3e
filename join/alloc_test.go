package join

import (
	"testing"
	"time"
)

// A click in steady state costs no allocation: decoded, hashed, inserted, and looked up, while old ones expire. The window takes memory by
// chunks of 16 KiB, far less than one for each click.
func TestClickAllocatesNothing(t *testing.T) {
	clicks := lines(t, "clicks.jsonl")
	d, h, w := NewDecoder(time.UTC), NewHasher(1), NewWindow(WindowConfig{})
	for i := range 200_000 { // a window at work
		w.Insert(benchKey(i/2), benchStart+int64(i)*1000, benchID(i))
	}
	var c Click
	i := 200_000
	if n := testing.AllocsPerRun(50_000, func() {
		if err := d.Click(clicks[i%len(clicks)], &c); err != nil {
			t.Fatal(err)
		}
		at := benchStart + int64(i)*1000
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
