package join

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// After each click comes the next one, by time and id, wherever it lies; nothing is passed over and
// nothing comes twice.
func TestAfterGoesThroughAllClicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newPair(WindowConfig{Seed: 3})
		keys, span := rapid.IntRange(1, 3).Draw(t, "keys"), rapid.SampledFrom([]int64{1, 30, 90 * minute}).Draw(t, "span")
		for range rapid.IntRange(0, 120).Draw(t, "clicks") {
			x.insert(t, Key{Lo: uint64(rapid.IntRange(0, keys-1).Draw(t, "key"))}, rapid.Int64Range(0, span).Draw(t, "at"), mixedID(rapid.IntRange(0, 20).Draw(t, "id")))
		}
		x.expire(t, rapid.Int64Range(0, span).Draw(t, "floor"))
		for n := range keys {
			key, to := Key{Lo: uint64(n)}, rapid.Int64Range(0, span).Draw(t, "to")
			var want, got []plainClickAt
			for _, c := range x.p.keys[key] {
				if c.t >= x.p.floor && c.t <= to {
					want = append(want, c)
				}
			}
			for at, id, ok := x.w.After(key, -1, ID{}, to); ok; at, id, ok = x.w.After(key, at, id, to) {
				got = append(got, plainClickAt{at, id.String()})
			}
			if !slices.Equal(got, want) {
				t.Fatalf("key %d: %v, want %v", n, got, want)
			}
		}
	})
}

// An answer that became worse, or none, is improved by what is better than it now.
func TestAnAnswerMayBecomeWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, key := NewRecents(7), Key{Lo: 1}
		id := func(what string) ID { return MakeID([]byte(mixedID(rapid.IntRange(0, 9).Draw(t, what)))) }
		all := make([]Recent, rapid.IntRange(1, 60).Draw(t, "checkouts"))
		for i := range all {
			all[i] = Recent{Time: 100 + rapid.Int64Range(0, 5).Draw(t, "time"), Offset: int64(i), ID: id("checkout"), HasClick: true, ClickTime: rapid.Int64Range(0, 9).Draw(t, "clicked"), Click: id("click")}
			r.Add(key, all[i])
		}
		for range rapid.IntRange(1, 30).Draw(t, "answers") {
			k := &all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
			k.HasClick, k.ClickTime, k.Click = rapid.Bool().Draw(t, "has click"), 0, ID{}
			to := &Refusal{Offset: k.Offset, Key: key, Time: k.Time, HasClick: k.HasClick}
			if k.HasClick {
				k.ClickTime, k.Click = rapid.Int64Range(0, 99).Draw(t, "to"), id("to click")
				to.Took = ClickAt{k.ClickTime, k.Click}
			}
			r.Answer(to)
		}
		r.Answer(&Refusal{Offset: 9999, Key: key, Time: 101}) // not held any more
		c := lateClick{key: key, t: rapid.Int64Range(0, 99).Draw(t, "late"), id: id("late click"), to: 200}
		var want, got []Recent
		for _, k := range all {
			if c.betters(key, &k) {
				want = append(want, best([]lateClick{c}, key, k))
			}
		}
		r.Mark(key, c.t, c.id, 0, 200)
		r.Improve(len(all), func(Key, int64) (int64, ID, bool) { return c.t, c.id, true }, func(_ Key, k *Recent) { got = append(got, *k) })
		sameRecents(t, "improved", got, want)
	})
}

// Clicks that come while a transaction finds that the first one is refused were held against that
// one. They are asserted with the next transaction, and nothing is asserted where none came.
func TestClicksMeanwhileAreAsserted(t *testing.T) {
	w := NewWindow(WindowConfig{})
	c := NewCore(Config{Window: time.Hour, Lateness: time.Minute, OutOfOrder: time.Second}, w)
	at := Position{Watermark: NoTime, FinalBefore: NoTime, ExpireBefore: NoTime}
	s := c.AddShard(0, at, false, func(*Shard, int32, *Candidate) {})
	key, base := Key{1, 1}, 1000*minute
	click := func(n int64) ClickAt { return ClickAt{base + n, MakeID([]byte("c"))} }
	for _, n := range []int64{1, 2, 5} {
		w.Insert(key, click(n).Time, click(n).ID)
	}
	refusal := &Refusal{Offset: 3, Key: key, Time: base + 10, Tried: []ClickAt{click(1), click(2)}, Took: click(5), HasClick: true}
	c.Refused(s, refusal)
	if len(s.Reasserted) != 0 {
		t.Errorf("%+v: nothing came meanwhile", s.Reasserted)
	}
	w.Insert(key, click(6).Time, click(6).ID) // worse than what the row has
	c.Refused(s, refusal)
	if len(s.Reasserted) != 0 {
		t.Errorf("%+v: what came is worse", s.Reasserted)
	}
	w.Insert(key, click(4).Time, click(4).ID)
	c.Refused(s, refusal)
	want := []Correction{{Offset: 3, Key: key, Time: base + 10, Click: click(1).ID, ClickTime: click(1).Time}}
	if !slices.Equal(s.Reasserted, want) {
		t.Errorf("%+v, want %+v", s.Reasserted, want)
	}
	s.Reasserted = nil
	refusal.Tried, refusal.HasClick = append(refusal.Tried, click(4), click(5), click(6)), false
	c.Refused(s, refusal)
	if len(s.Reasserted) != 0 {
		t.Errorf("%+v: all were tried", s.Reasserted)
	}
}
