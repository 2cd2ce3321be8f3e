package window

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

// After each click comes the next one, by time and id, wherever it lies; nothing is passed over and
// nothing comes twice.
func TestAfterGoesThroughAllClicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newPair(16)
		keys, span := rapid.IntRange(1, 3).Draw(t, "keys"), rapid.SampledFrom([]int64{1, 30, 90 * minute}).Draw(t,
			"span")
		for range rapid.IntRange(0, 120).Draw(t, "clicks") {
			x.insert(t, event.Key{Lo: uint64(rapid.IntRange(0, keys-1).Draw(t, "key"))},
				rapid.Int64Range(0, span).Draw(t, "at"), jointest.MixedID(rapid.IntRange(0, 20).Draw(t, "id")))
		}
		x.expire(t, rapid.Int64Range(0, span).Draw(t, "floor"))
		for n := range keys {
			key, to := event.Key{Lo: uint64(n)}, rapid.Int64Range(0, span).Draw(t, "to")
			var want, got []plainClickAt
			for _, c := range x.p.keys[key] {
				if c.t >= x.p.floor && c.t <= to {
					want = append(want, c)
				}
			}
			for at, id, ok := x.w.After(key, -1, event.ID{}, to); ok; at, id, ok = x.w.After(key, at, id, to) {
				got = append(got, plainClickAt{at, id.String()})
			}
			if !slices.Equal(got, want) {
				t.Fatalf("key %d: %v, want %v", n, got, want)
			}
		}
	})
}
