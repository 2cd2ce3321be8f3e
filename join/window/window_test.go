package window

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

func TestWindowLikePlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newPair(rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "stripes"))
		lookups := x.w.NewLookups()
		start := rapid.SampledFrom([]int64{0, 1_795_000_000_000_000, event.EndOfTime - 120*minute}).Draw(t, "start")
		span := rapid.SampledFrom([]int64{1, 1000, minute, 5 * minute, 100 * minute}).Draw(t, "span")
		keys := rapid.IntRange(1, 6).Draw(t, "keys")
		key := func(t *rapid.T) event.Key {
			n := uint64(rapid.IntRange(0, keys-1).Draw(t, "key"))
			return keyOf(n)
		}
		at := func(t *rapid.T) int64 { return start + rapid.Int64Range(0, span).Draw(t, "at") }
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				x.insert(t, key(t), at(t),
					jointest.MixedID(rapid.IntRange(0, 30).Draw(t, "id")))
			},
			"insert many": func(t *rapid.T) {
				k, n, from := key(t), rapid.IntRange(2, 150).Draw(t, "n"), at(t)
				r := rand.New(rand.NewPCG(1, uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))))
				step := rapid.SampledFrom([]int64{0, 1, span / 50, minute / 3, minute, -1, -minute / 3,
					-minute}).Draw(t, "step")
				wild := rapid.Bool().Draw(t, "wild")
				for i := range int64(n) {
					when := from + i*step
					if wild {
						when = start + r.Int64N(span+1)
					}
					when = min(max(when, start), event.EndOfTime-1)
					x.insert(t, k, when, jointest.MixedID(r.IntN(4*n)))
				}
			},
			"insert a batch": func(t *rapid.T) {
				r := rand.New(rand.NewPCG(2, uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))))
				batch := x.w.NewBatch()
				for range rapid.SampledFrom([]int{0, 1, 7, BatchSize + 3}).Draw(t, "n") {
					n := r.Uint64N(uint64(keys))
					k, when, id := keyOf(n), start-minute+r.Int64N(span+2*minute), jointest.MixedID(r.IntN(40))
					if batch.Full() {
						batch.Flush()
					}
					batch.Add(k, when, event.MakeID([]byte(id)))
					if when < event.EndOfTime {
						x.p.Insert(k, when, id)
					}
				}
				batch.Flush()
			},
			"first": func(t *rapid.T) { x.first(t, key(t), at(t), at(t)) },
			"first of a window": func(t *rapid.T) {
				to := at(t)
				x.first(t, key(t), to-rapid.SampledFrom([]int64{0, 1, minute, 60 * minute}).Draw(t, "window"), to)
			},
			"first of all": func(t *rapid.T) { x.first(t, key(t), event.NoTime, event.Forever) },
			"first of many": func(t *rapid.T) {
				r := rand.New(rand.NewPCG(3, uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))))
				type question struct {
					key      event.Key
					from, to int64
				}
				var asked []question
				lookups.Reset()
				for range rapid.SampledFrom([]int{0, 1, 7, LookupsSize}).Draw(t, "n") {
					n, from := r.Uint64N(uint64(keys)), start-minute+r.Int64N(span+2*minute)
					q := question{keyOf(n), from, from + r.Int64N(span+1)}
					asked = append(asked, q)
					lookups.Ask(q.key, q.from, q.to)
				}
				lookups.Find()
				for n, q := range asked {
					at, id, ok := lookups.Answer(n)
					x.isFirst(t, q.key, q.from, q.to, at, id, ok)
				}
			},
			"expire": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
					x.expire(t, at(t))
				}
			},
			"": func(t *rapid.T) { x.check(t) },
		})
	})
}

// FuzzWindow reads its input as a program: eight bytes an instruction.
func FuzzWindow(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x01\x00\x01\x00\x01\x01\x01\x00\x00\x00\xff\x00\x00"))
	r := rand.New(rand.NewPCG(1, 2))
	for _, kinds := range []uint32{1, 3, 8} {
		var b []byte
		for range 400 {
			b = binary.LittleEndian.AppendUint32(b, r.Uint32()%(kinds*40))
			b = binary.LittleEndian.AppendUint32(b, r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		x := newPair(1)
		for ; len(program) >= 8; program = program[8:] {
			op, key, id := program[0]%16, event.Key{Lo: uint64(program[1] % 3)}, jointest.MixedID(int(program[2]%32))
			at := int64(binary.LittleEndian.Uint16(program[4:]))*minute/16 + int64(program[6]%4)
			switch {
			case op < 12:
				x.insert(t, key, at, id)
			case op < 15:
				x.first(t, key, at, at+int64(program[3])*minute)
			case program[7] < 16:
				x.expire(t, at)
			}
		}
		x.check(t)
		for k := range uint64(3) {
			for _, c := range x.p.keys[event.Key{Lo: k}] {
				x.first(t, event.Key{Lo: k}, c.t, c.t)
				x.first(t, event.Key{Lo: k}, c.t+1, event.Forever)
			}
		}
	})
}

func TestWindowBounds(t *testing.T) {
	w := New(0)
	k, id := event.Key{Hi: 1, Lo: 2}, event.MakeID([]byte("b448af57-564e-4411-a163-30c1e560ebff"))
	for _, at := range []int64{-1, event.NoTime, event.EndOfTime, event.Forever} {
		if w.Insert(k, at, id) {
			t.Errorf("took a click at %d", at)
		}
	}
	if !w.Insert(k, 0, id) || w.Insert(k, 0, id) || !w.Insert(k, event.EndOfTime-1, id) {
		t.Fatal("did not take the first and the last moment once")
	}
	if at, _, ok := w.First(k, 1, event.Forever); !ok || at != event.EndOfTime-1 {
		t.Fatalf("%d %t", at, ok)
	}
	if at, _, ok := w.First(k, event.NoTime, event.Forever); !ok || at != 0 {
		t.Fatalf("%d %t", at, ok)
	}
	if _, _, ok := w.First(k, event.Forever, event.NoTime); ok {
		t.Fatal("found a click in no time")
	}
	w.Expire(event.Forever)
	if st := w.Stats(); st.Clicks != 0 || st.Buckets != 0 || st.Oldest != event.NoTime || st.Floor != event.Forever {
		t.Fatalf("%+v", st)
	}
}

// An hour to either end counts, a microsecond more does not; so does the floor.
func TestWindowEndsAreExact(t *testing.T) {
	w := New(0)
	const at = 1_795_000_000_123_456
	k := event.Key{Hi: 1, Lo: 2}
	w.Insert(k, at, event.MakeID([]byte("b")))
	w.Insert(k, at, event.MakeID([]byte("a")))
	for _, c := range []struct {
		from, to int64
		ok       bool
	}{{at, at, true}, {at - 60*minute, at, true}, {at, at + 60*minute, true}, {at + 1, at + 60*minute,
		false}, {at - 60*minute, at - 1, false}} {
		if got, id, ok := w.First(k, c.from, c.to); ok != c.ok || ok && (got != at || id.String() != "a") {
			t.Errorf("%+v: %d %s %t", c, got, id, ok)
		}
	}
	w.Expire(at)
	if _, _, ok := w.First(k, at, at); !ok || w.Insert(k, at-1, event.MakeID([]byte("c"))) ||
		!w.Insert(k, at, event.MakeID([]byte("c"))) {
		t.Error("the floor itself is still in")
	}
	w.Expire(at + 1)
	w.Expire(at) // does not go back
	if _, _, ok := w.First(k, at, at); ok || w.Insert(k, at, event.MakeID([]byte("d"))) {
		t.Error("below the floor is out")
	}
}

// One key, many clicks, in orders that make a list or a plain tree slow: time must grow like n log
// n. 100,000 clicks one by one over a list would be 5 * 10^9 steps.
func TestWindowHotKey(t *testing.T) {
	const n = 100_000
	const start = 1_795_000_000_000_000
	r := rand.New(rand.NewPCG(3, 4))
	random := r.Perm(n)
	for name, at := range map[string]func(i int) int64{
		"in order":                 func(i int) int64 { return start + int64(i)*20_000 },
		"in order, one bucket":     func(i int) int64 { return start + int64(i) },
		"in reverse":               func(i int) int64 { return start + int64(n-i)*20_000 },
		"in reverse, one bucket":   func(i int) int64 { return start + int64(n-i) },
		"at random":                func(i int) int64 { return start + int64(random[i])*20_000 },
		"at one time":              func(int) int64 { return start },
		"at random in one bucket":  func(i int) int64 { return start + int64(random[i]) },
		"a click a bucket":         func(i int) int64 { return start + int64(i/50)*minute },
		"a click a bucket, upside": func(i int) int64 { return start + int64((n-i)/50)*minute },
	} {
		t.Run(name, func(t *testing.T) {
			w, k := New(0), event.Key{Hi: 1, Lo: 2}
			all := make([]heldClick, n)
			began := time.Now()
			for i := range all {
				all[i] = heldClick{at(i), event.FromParts(event.Mix(uint64(i)), 1, "")}
				if !w.Insert(k, all[i].t, all[i].id) {
					t.Fatal("refused")
				}
			}
			inserted := time.Since(began)
			slices.SortFunc(all, heldClick.compare)
			began = time.Now()
			for i := range all {
				from := all[r.IntN(n)].t + r.Int64N(3)
				want, _ := slices.BinarySearchFunc(all, heldClick{t: from}, heldClick.compare)
				got, id, ok := w.First(k, from, from+60*minute)
				if wantOK := want < n && all[want].t <= from+60*minute; ok != wantOK || ok &&
					(got != all[want].t || id != all[want].id) {
					t.Fatalf("%d: first from %d: %d %s %t", i, from, got, id, ok)
				}
			}
			t.Logf("insert %d ns, first %d ns", inserted.Nanoseconds()/n, time.Since(began).Nanoseconds()/n)
			if inserted > time.Minute {
				t.Fatalf("took %s", inserted)
			}
		})
	}
}

type heldClick struct {
	t  int64
	id event.ID
}

func (a heldClick) compare(b heldClick) int {
	switch {
	case a.t < b.t:
		return -1
	case a.t > b.t:
		return 1
	}
	return a.id.Compare(b.id)
}

// Always new keys for three days: memory stays that of the window.
func TestWindowForgetsKeys(t *testing.T) {
	w := newWindow(0, 2)
	const start, step = 1_795_000_000_000_000, 20_000
	var peak int64
	for i := range 3 * 24 * 60 * minute / step / 16 {
		at := start + i*step*16
		w.Insert(event.Key{Lo: uint64(i)}, at, event.FromParts(uint64(i)+1, 1, ""))
		if i%500 == 0 {
			w.Expire(at - 75*minute)
			peak = max(peak, w.Stats().Bytes)
		}
	}
	st := w.Stats()
	if limit := 75 * minute / step / 16 * 100; peak > limit {
		t.Fatalf("%d bytes at the peak for %d clicks, want at most %d", peak, st.Clicks, limit)
	}
	w.Expire(event.Forever)
	if st := w.Stats(); st.Bytes > 256*1024 || st.Clicks != 0 {
		t.Fatalf("empty: %+v", st)
	}
}

// Clicks years apart cost no more than others.
func TestWindowFarApart(t *testing.T) {
	w := New(0)
	const year = 365 * 24 * 60 * minute
	k := event.Key{Hi: 7, Lo: 7}
	for i := range int64(30) {
		for j := range int64(3) {
			if !w.Insert(k, (29-i)*year+j, event.FromParts(uint64(j), 1, "")) {
				t.Fatal("refused")
			}
		}
	}
	if st := w.Stats(); st.Bytes > 30_000 || st.Buckets != 30 || st.Oldest != 0 {
		t.Fatalf("%+v", st)
	}
	w.Expire(10*year + 1)
	if at, _, ok := w.First(k, 0, event.Forever); !ok || at != 10*year+1 {
		t.Fatalf("%d %t", at, ok)
	}
	if st := w.Stats(); st.Buckets != 20 || st.Clicks != 60 || st.Oldest != 10*year+1 {
		t.Fatalf("%+v", st)
	}
}

// Under the race detector: whatever happens at once, an answer is a click that was inserted, in
// range and not below the floor as it was before the question.
func TestWindowConcurrently(t *testing.T) {
	w := newWindow(0, 4)
	const start = 1_795_000_000_000_000
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(9, uint64(g)))
			batch := w.NewBatch()
			defer batch.Flush()
			for i := range 20_000 {
				k, now := event.Key{Lo: r.Uint64N(50)}, start+int64(i)*minute/200
				if batch.Full() {
					batch.Flush()
				}
				switch r.IntN(9) {
				case 0:
					w.Expire(now - 20*minute)
				case 8:
					at := now - r.Int64N(15*minute)
					batch.Add(k, at, event.MakeID(fmt.Appendf(nil, "%d-%d", k.Lo, at)))
				case 1, 2, 3:
					floor := w.Stats().Floor
					at, id, ok := w.First(k, now-10*minute, now)
					if ok && (at < floor || at < now-10*minute || at > now ||
						id.String() != fmt.Sprintf("%d-%d", k.Lo, at)) {
						t.Errorf("key %d at %d: %d %s", k.Lo, now, at, id)
					}
				default:
					at := now - r.Int64N(15*minute)
					w.Insert(k, at, event.MakeID(fmt.Appendf(nil, "%d-%d", k.Lo, at)))
				}
			}
		})
	}
	wg.Wait()
	w.Expire(event.Forever)
	if st := w.Stats(); st.Clicks != 0 || st.Buckets != 0 {
		t.Fatalf("%+v", st)
	}
}
