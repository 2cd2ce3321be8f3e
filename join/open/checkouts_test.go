package open

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

const minute = int64(60_000_000)

// plainCheckouts is what Checkouts is tested against.
type plainCheckouts struct{ all []plainCheckout }

type plainCheckout struct {
	key event.Key
	Checkout
}

// came is a click that came for the checkouts of a span.
type came struct {
	key      event.Key
	t        int64
	id       event.ID
	from, to int64
}

func (c *came) betters(key event.Key, k *Checkout) bool {
	return c.key == key && c.from <= k.Time && k.Time <= c.to &&
		(!k.HasClick || c.t < k.ClickTime || c.t == k.ClickTime && c.id.Compare(k.Click) < 0)
}

// corrected is the checkout that a correction is of, as it is then.
func corrected(c event.Correction) Checkout {
	return Checkout{Time: c.Time, Offset: c.Offset, ID: c.Checkout, ClickTime: c.ClickTime, Click: c.Click,
		HasClick: true}
}

// best is the answer for checkouts of a key at one time, given what it was.
func best(clicks []came, key event.Key, k Checkout) Checkout {
	for i := range clicks {
		if c := &clicks[i]; c.betters(key, &k) {
			k.ClickTime, k.Click, k.HasClick = c.t, c.id, true
		}
	}
	return k
}

// take makes the improvements that were given out, which must be such.
func (p *plainCheckouts) take(t jointest.Fataler, got []event.Correction, clicks []came) {
	for _, c := range got {
		k := corrected(c)
		i := slices.IndexFunc(p.all, func(x plainCheckout) bool {
			return x.Offset == k.Offset && x.Time == k.Time && x.ID == k.ID && best(clicks, x.key, x.Checkout) == k
		})
		if i < 0 || p.all[i].Checkout == k {
			t.Fatalf("%+v is no improvement", k)
		}
		p.all[i].Checkout = k
	}
}

// marked checks that nothing before the time given is to be improved.
func (p *plainCheckouts) marked(t jointest.Fataler, r *Checkouts, clicks []came) {
	for i := range p.all {
		if k := p.all[i].Checkout; k.Time < r.Marked() && best(clicks, p.all[i].key, k) != k {
			t.Fatalf("marked from %d on, and %+v could be better", r.Marked(), k)
		}
	}
}

func (p *plainCheckouts) expire(before int64) {
	p.all = slices.DeleteFunc(p.all, func(k plainCheckout) bool { return k.Time < before })
}

func (p *plainCheckouts) oldest() (least int64, ok bool) {
	for _, k := range p.all {
		if !ok || k.Offset < least {
			least, ok = k.Offset, true
		}
	}
	return least, ok
}

func compareCheckouts(a, b Checkout) int {
	switch {
	case a.Time != b.Time:
		return int(min(max(a.Time-b.Time, -1), 1))
	case a.Offset != b.Offset:
		return int(min(max(a.Offset-b.Offset, -1), 1))
	case a.ID != b.ID:
		return a.ID.Compare(b.ID)
	case a.ClickTime != b.ClickTime:
		return int(min(max(a.ClickTime-b.ClickTime, -1), 1))
	}
	return a.Click.Compare(b.Click)
}

func sameCheckouts(t jointest.Fataler, what string, got, want []Checkout) {
	slices.SortFunc(got, compareCheckouts)
	slices.SortFunc(want, compareCheckouts)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func (p *plainCheckouts) check(t jointest.Fataler, r *Checkouts) {
	if r.Len() != len(p.all) {
		t.Fatalf("%d held, want %d", r.Len(), len(p.all))
	}
	got, gotOK := r.OldestOffset()
	want, wantOK := p.oldest()
	if got != want || gotOK != wantOK {
		t.Fatalf("oldest offset %d %t, want %d %t", got, gotOK, want, wantOK)
	}
	byKey := map[event.Key][]Checkout{}
	for key, k := range r.all() {
		byKey[key] = append(byKey[key], k)
	}
	for _, k := range p.all {
		if byKey[k.key] == nil {
			t.Fatalf("nothing of %v", k.key)
		}
	}
	for key, got := range byKey {
		var want []Checkout
		for _, k := range p.all {
			if k.key == key {
				want = append(want, k.Checkout)
			}
		}
		sameCheckouts(t, "all", got, want)
	}
}

func TestCheckoutsLikePlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, p := New(7), &plainCheckouts{}
		start := rapid.SampledFrom([]int64{0, 1_795_000_000_000_000}).Draw(t, "start")
		span := rapid.SampledFrom([]int64{1, 50, 100 * minute}).Draw(t, "span")
		keys := rapid.IntRange(1, 8).Draw(t, "keys")
		key := func(t *rapid.T) event.Key { return event.Key{Lo: uint64(rapid.IntRange(0, keys-1).Draw(t, "key"))} }
		at := func(t *rapid.T) int64 { return start + rapid.Int64Range(0, span).Draw(t, "at") }
		id := func(t *rapid.T) event.ID {
			return event.MakeID([]byte(jointest.MixedID(rapid.IntRange(0, 40).Draw(t, "id"))))
		}
		offset := int64(1000)
		var clicks, sweep []came
		add := func(key event.Key, k Checkout) {
			k = best(clicks, key, k) // as the window would answer
			r.Add(key, k)
			p.all = append(p.all, plainCheckout{key, k})
		}
		floor := start
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				offset++
				k := Checkout{Time: at(t), Offset: offset, ID: id(t)}
				if rapid.Bool().Draw(t, "has click") {
					k.ClickTime, k.Click, k.HasClick = at(t), id(t), true
				}
				add(key(t), k)
			},
			"add history": func(t *rapid.T) {
				n, key, seed := rapid.IntRange(1, 60).Draw(t,
					"n"), key(t), uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))
				rnd := rand.New(rand.NewPCG(5, seed))
				for range n {
					offset++
					k := Checkout{Time: start + rnd.Int64N(span+1), Offset: offset,
						ID: event.MakeID([]byte(jointest.MixedID(rnd.IntN(99))))}
					if rnd.IntN(2) == 0 {
						k.ClickTime, k.HasClick = start+rnd.Int64N(span+1), true
						k.Click = event.MakeID([]byte(jointest.MixedID(rnd.IntN(9))))
					}
					add(key, k)
				}
			},
			"click": func(t *rapid.T) {
				c := came{key: key(t), t: at(t), id: id(t)}
				c.from, c.to = c.t, c.t+rapid.SampledFrom([]int64{-1, 0, 1, 60 * minute}).Draw(t, "window")
				if rapid.Bool().Draw(t, "anywhere") {
					c.from = at(t)
				}
				clicks = append(clicks, c)
				r.Mark(c.key, c.t, c.id, c.from, c.to)
				p.marked(t, r, clicks)
			},
			"clicks, newest first": func(t *rapid.T) {
				key, when := key(t), at(t)
				for i := range rapid.Int64Range(1, 100).Draw(t, "n") {
					c := came{key: key, t: when - i, id: id(t), from: when - i, to: when + span}
					clicks = append(clicks, c)
					r.Mark(c.key, c.t, c.id, c.from, c.to)
				}
				p.marked(t, r, clicks)
			},
			"take": func(t *rapid.T) {
				if sweep == nil {
					sweep = clicks
				}
				most, asked := rapid.SampledFrom([]int{0, 1, 2, 10, 1 << 30}).Draw(t, "most"), 0
				got, done := r.Improve(nil, most, answers(func(key event.Key, at int64) (int64, event.ID, bool) {
					asked++
					k := best(clicks, key, Checkout{Time: at})
					return k.ClickTime, k.Click, k.HasClick
				}), 0)
				if asked > most {
					t.Fatalf("%d asked for, of %d", asked, most)
				}
				p.take(t, got, clicks)
				if done {
					for i := range p.all {
						if k := p.all[i].Checkout; best(sweep, p.all[i].key, k) != k {
							t.Fatalf("the sweep is done, and %+v could be better", k)
						}
					}
					sweep = nil
				}
				p.marked(t, r, clicks)
			},
			"expire": func(t *rapid.T) {
				floor += rapid.Int64Range(0, max(span/4, 1)).Draw(t, "by")
				before := floor
				if rapid.IntRange(0, 9).Draw(t, "back") == 0 {
					before = at(t)
				}
				r.Expire(before)
				p.expire(before)
			},
			"": func(t *rapid.T) { p.check(t, r) },
		})
	})
}

// answers is a window that has one answer, or none.
type answers func(key event.Key, at int64) (int64, event.ID, bool)

func (f answers) First(key event.Key, _, to int64) (int64, event.ID, bool) { return f(key, to) }

// always answers with one click.
func always(t int64, click event.ID) answers {
	return func(event.Key, int64) (int64, event.ID, bool) { return t, click, true }
}

// A hundred thousand checkouts of one key: in order, at one time and at random, with clicks that
// improve one of them, none, and all. Anything that takes all of them in hand for each call would
// need 10^10 steps.
func TestCheckoutsHotKey(t *testing.T) {
	const n = 100_000
	rnd := rand.New(rand.NewPCG(1, 1))
	for name, at := range map[string]func(i int64) int64{
		"in order": func(i int64) int64 {
			return jointest.Start +
				i*1000
		}, "at one time": func(int64) int64 { return jointest.Start },
		"at random": func(int64) int64 {
			return jointest.Start +
				rnd.Int64N(n*1000)
		}, "in reverse": func(i int64) int64 { return jointest.Start + (n-i)*1000 },
	} {
		t.Run(name, func(t *testing.T) {
			r, k := New(7), event.Key{Hi: 1, Lo: 1}
			began := time.Now()
			for i := range int64(n) {
				r.Add(k, Checkout{Time: at(i), Offset: i, ID: jointest.ID(int(i))})
			}
			improved := 0
			better := func(at int64, click event.ID) {
				r.Mark(k, at, click, event.NoTime, event.Forever)
				better, done := r.Improve(nil, n, always(at, click), 0)
				improved += len(better)
				if !done || r.Marked() != event.Forever {
					t.Fatal("not all were asked for")
				}
			}
			for i := range int64(n) { // newest first
				r.Mark(k, jointest.Start-i, jointest.ID(n), event.NoTime, event.Forever)
			}
			better(jointest.Start-minute, jointest.ID(n))
			if improved != n {
				t.Fatalf("%d improved, want all once", improved)
			}
			worse := event.FromParts(math.MaxUint64, math.MaxUint64, "")
			for range n { // the same click again, and one of the same time that is greater
				better(jointest.Start-minute, jointest.ID(n))
				better(jointest.Start-minute, worse)
			}
			if improved != n {
				t.Fatal("improved by what is no better")
			}
			for i := range int64(n) {
				r.Expire(jointest.Start + i*1000)
				if _, ok := r.OldestOffset(); ok != (r.Len() > 0) {
					t.Fatal("oldest offset and length disagree")
				}
			}
			r.Expire(event.Forever)
			if r.Len() != 0 || r.Bytes() > 1<<20 {
				t.Fatalf("%d left in %d bytes", r.Len(), r.Bytes())
			}
			if took := time.Since(began); took > time.Minute {
				t.Fatalf("took %s", took)
			}
		})
	}
}

// An answer that became worse, or none, is improved by what is better than it now.
func TestAnAnswerMayBecomeWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, key := New(7), event.Key{Lo: 1}
		id := func(what string) event.ID {
			return event.MakeID([]byte(jointest.MixedID(rapid.IntRange(0, 9).Draw(t, what))))
		}
		all := make([]Checkout, rapid.IntRange(1, 60).Draw(t, "checkouts"))
		for i := range all {
			all[i] = Checkout{Time: 100 + rapid.Int64Range(0, 5).Draw(t, "time"), Offset: int64(i),
				ID: id("checkout"), HasClick: true, ClickTime: rapid.Int64Range(0, 9).Draw(t,
					"clicked"), Click: id("click")}
			r.Add(key, all[i])
		}
		for range rapid.IntRange(1, 30).Draw(t, "answers") {
			k := &all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
			k.HasClick, k.ClickTime, k.Click = rapid.Bool().Draw(t, "has click"), 0, event.ID{}
			to := &event.Refusal{Offset: k.Offset, Key: key, Time: k.Time, HasClick: k.HasClick}
			if k.HasClick {
				k.ClickTime, k.Click = rapid.Int64Range(0, 99).Draw(t, "to"), id("to click")
				to.Took = event.ClickAt{Time: k.ClickTime, ID: k.Click}
			}
			r.SetClick(to)
		}
		r.SetClick(&event.Refusal{Offset: 9999, Key: key, Time: 101}) // not held any more
		c := came{key: key, t: rapid.Int64Range(0, 99).Draw(t, "late"), id: id("late click"), to: 200}
		var want, got []Checkout
		for _, k := range all {
			if c.betters(key, &k) {
				want = append(want, best([]came{c}, key, k))
			}
		}
		r.Mark(key, c.t, c.id, 0, 200)
		better, _ := r.Improve(nil, len(all), always(c.t, c.id), 0)
		for _, k := range better {
			got = append(got, corrected(k))
		}
		sameCheckouts(t, "improved", got, want)
	})
}
