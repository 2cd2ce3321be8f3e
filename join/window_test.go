package join

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plainWindow is the window again, plain: what the window is tested against.
type plainWindow struct {
	keys  map[Key][]plainClickAt
	floor int64
}

type plainClickAt struct {
	t  int64
	id string
}

func (a plainClickAt) compare(b plainClickAt) int {
	switch {
	case a.t < b.t:
		return -1
	case a.t > b.t:
		return 1
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

func newPlainWindow() *plainWindow {
	return &plainWindow{keys: map[Key][]plainClickAt{}, floor: NoTime}
}

func (w *plainWindow) Insert(key Key, t int64, id string) bool {
	i, found := slices.BinarySearchFunc(w.keys[key], plainClickAt{t, id}, plainClickAt.compare)
	if found || t < w.floor || t < 0 {
		return false
	}
	w.keys[key] = slices.Insert(w.keys[key], i, plainClickAt{t, id})
	return true
}

func (w *plainWindow) First(key Key, from, to int64) (plainClickAt, bool) {
	for _, c := range w.keys[key] {
		if c.t >= max(from, w.floor) {
			return c, c.t <= to
		}
	}
	return plainClickAt{}, false
}

func (w *plainWindow) Clicks(from int64) (n int64) {
	for _, list := range w.keys {
		for _, c := range list {
			if c.t >= from {
				n++
			}
		}
	}
	return n
}

type fataler interface{ Fatalf(string, ...any) }

// pair is a window and its plain twin.
type pair struct {
	w *Window
	p *plainWindow
}

func newPair(cfg WindowConfig) pair { return pair{NewWindow(cfg), newPlainWindow()} }

func (x pair) insert(t fataler, key Key, at int64, id string) {
	if got, want := x.w.Insert(key, at, MakeID([]byte(id))), x.p.Insert(key, at, id); got != want {
		t.Fatalf("insert %v %d %q: %t, want %t", key, at, id, got, want)
	}
}

func (x pair) first(t fataler, key Key, from, to int64) {
	at, id, ok := x.w.First(key, from, to)
	x.isFirst(t, key, from, to, at, id, ok)
}

func (x pair) isFirst(t fataler, key Key, from, to, at int64, id ID, ok bool) {
	want, wantOK := x.p.First(key, from, to)
	if ok != wantOK || ok && (at != want.t || id.String() != want.id) {
		t.Fatalf("first %v %d..%d: %d %s %t, want %v %t", key, from, to, at, id, ok, want, wantOK)
	}
}

func (x pair) expire(t fataler, before int64) {
	x.w.Expire(before)
	x.p.floor = max(x.p.floor, before)
	x.check(t)
}

// check holds the figures against the plain ones and against what is really there.
func (x pair) check(t fataler) {
	st := x.w.Stats()
	least := x.p.Clicks(x.p.floor)
	if most := x.p.Clicks(x.p.floor - x.w.length); st.Clicks < least || st.Clicks > most && x.p.floor > 0 {
		t.Fatalf("%d clicks, want %d to %d", st.Clicks, least, most)
	}
	if st.Floor != x.p.floor {
		t.Fatalf("floor %d, want %d", st.Floor, x.p.floor)
	}
	for _, list := range x.p.keys {
		for _, c := range list {
			if c.t >= x.p.floor && (st.Oldest == NoTime || c.t < st.Oldest) {
				t.Fatalf("oldest %d, but there is a click at %d", st.Oldest, c.t)
			}
		}
	}
	if got := x.w.allocated(); got != st.Bytes {
		t.Fatalf("%d bytes, want %d", st.Bytes, got)
	}
}

// allocated adds up what is there.
func (w *Window) allocated() (n int64) {
	for i := range w.stripes {
		s := &w.stripes[i]
		n += int64(len(s.index.slots)) * slotBytes
		for _, b := range s.buckets {
			n += bucketBytes
			for _, c := range b.chunks {
				n += chunkOverhead + int64(len(c))*4
			}
		}
		for _, c := range s.free {
			n += int64(len(c)) * 4
		}
		n += int64(cap(s.directories)) * 24
		for _, d := range s.directories {
			n += int64(cap(d.groups)) * groupBytes
		}
	}
	return n
}

const minute = int64(60_000_000)

func mixedID(n int) string {
	switch n % 4 {
	case 0:
		return fmt.Sprintf("click-%d", n)
	case 1:
		return fmt.Sprintf("%0*d", 1+n%MaxID, n)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], mix64(uint64(n)))
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func TestWindowLikePlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newPair(WindowConfig{Bucket: time.Duration(rapid.IntRange(0, 5).Draw(t, "bucket")) * time.Minute, Stripes: rapid.IntRange(0, 3).Draw(t, "stripes")})
		lookups := x.w.NewLookups()
		start := rapid.SampledFrom([]int64{0, 1_795_000_000_000_000, endOfTime*1e6 - 120*minute}).Draw(t, "start")
		span := rapid.SampledFrom([]int64{1, 1000, minute, 5 * minute, 100 * minute}).Draw(t, "span")
		keys := rapid.IntRange(1, 6).Draw(t, "keys")
		key := func(t *rapid.T) Key {
			n := uint64(rapid.IntRange(0, keys-1).Draw(t, "key"))
			return []Key{{n, 0}, {0, n}}[n&1]
		}
		at := func(t *rapid.T) int64 { return start + rapid.Int64Range(0, span).Draw(t, "at") }
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) { x.insert(t, key(t), at(t), mixedID(rapid.IntRange(0, 30).Draw(t, "id"))) },
			"insert many": func(t *rapid.T) {
				k, n, from := key(t), rapid.IntRange(2, 150).Draw(t, "n"), at(t)
				r := rand.New(rand.NewPCG(1, uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))))
				step := rapid.SampledFrom([]int64{0, 1, span / 50, minute / 3, minute, -1, -minute / 3, -minute}).Draw(t, "step")
				wild := rapid.Bool().Draw(t, "wild")
				for i := range int64(n) {
					when := from + i*step
					if wild {
						when = start + r.Int64N(span+1)
					}
					when = min(max(when, start), endOfTime*1e6-1)
					x.insert(t, k, when, mixedID(r.IntN(4*n)))
				}
			},
			"insert a batch": func(t *rapid.T) {
				r := rand.New(rand.NewPCG(2, uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))))
				batch := x.w.NewBatch()
				for range rapid.SampledFrom([]int{0, 1, 7, BatchSize + 3}).Draw(t, "n") {
					n := r.Uint64N(uint64(keys))
					k, when, id := []Key{{n, 0}, {0, n}}[n&1], start-minute+r.Int64N(span+2*minute), mixedID(r.IntN(40))
					if batch.Full() {
						batch.Flush()
					}
					batch.Add(k, when, MakeID([]byte(id)))
					if when < endOfTime*1e6 {
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
			"first of all": func(t *rapid.T) { x.first(t, key(t), NoTime, forever) },
			"first of many": func(t *rapid.T) {
				r := rand.New(rand.NewPCG(3, uint64(rapid.IntRange(0, 1000).Draw(t, "seed"))))
				type question struct {
					key      Key
					from, to int64
				}
				var asked []question
				lookups.Reset()
				for range rapid.SampledFrom([]int{0, 1, 7, LookupsSize}).Draw(t, "n") {
					n, from := r.Uint64N(uint64(keys)), start-minute+r.Int64N(span+2*minute)
					q := question{[]Key{{n, 0}, {0, n}}[n&1], from, from + r.Int64N(span+1)}
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
		x := newPair(WindowConfig{Stripes: 1})
		for ; len(program) >= 8; program = program[8:] {
			op, key, id := program[0]%16, Key{Lo: uint64(program[1] % 3)}, mixedID(int(program[2]%32))
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
			for _, c := range x.p.keys[Key{Lo: k}] {
				x.first(t, Key{Lo: k}, c.t, c.t)
				x.first(t, Key{Lo: k}, c.t+1, forever)
			}
		}
	})
}

func TestWindowBounds(t *testing.T) {
	w := NewWindow(WindowConfig{})
	k, id := Key{1, 2}, MakeID([]byte(uuidA))
	for _, at := range []int64{-1, NoTime, endOfTime * 1e6, forever} {
		if w.Insert(k, at, id) {
			t.Errorf("took a click at %d", at)
		}
	}
	if !w.Insert(k, 0, id) || w.Insert(k, 0, id) || !w.Insert(k, endOfTime*1e6-1, id) {
		t.Fatal("did not take the first and the last moment once")
	}
	if at, _, ok := w.First(k, 1, forever); !ok || at != endOfTime*1e6-1 {
		t.Fatalf("%d %t", at, ok)
	}
	if at, _, ok := w.First(k, NoTime, forever); !ok || at != 0 {
		t.Fatalf("%d %t", at, ok)
	}
	if _, _, ok := w.First(k, forever, NoTime); ok {
		t.Fatal("found a click in no time")
	}
	w.Expire(forever)
	if st := w.Stats(); st.Clicks != 0 || st.Buckets != 0 || st.Oldest != NoTime || st.Floor != forever {
		t.Fatalf("%+v", st)
	}
}

// An hour to either end counts, a microsecond more does not; so does the floor.
func TestWindowEndsAreExact(t *testing.T) {
	w := NewWindow(WindowConfig{})
	const at = 1_795_000_000_123_456
	k := Key{1, 2}
	w.Insert(k, at, MakeID([]byte("b")))
	w.Insert(k, at, MakeID([]byte("a")))
	for _, c := range []struct {
		from, to int64
		ok       bool
	}{{at, at, true}, {at - 60*minute, at, true}, {at, at + 60*minute, true}, {at + 1, at + 60*minute, false}, {at - 60*minute, at - 1, false}} {
		if got, id, ok := w.First(k, c.from, c.to); ok != c.ok || ok && (got != at || id.String() != "a") {
			t.Errorf("%+v: %d %s %t", c, got, id, ok)
		}
	}
	w.Expire(at)
	if _, _, ok := w.First(k, at, at); !ok || w.Insert(k, at-1, MakeID([]byte("c"))) || !w.Insert(k, at, MakeID([]byte("c"))) {
		t.Error("the floor itself is still in")
	}
	w.Expire(at + 1)
	w.Expire(at) // does not go back
	if _, _, ok := w.First(k, at, at); ok || w.Insert(k, at, MakeID([]byte("d"))) {
		t.Error("below the floor is out")
	}
}

// One key, many clicks, in orders that make a list or a plain tree slow: time must grow like n log n. 100,000 clicks one by one
// over a list would be 5 * 10^9 steps.
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
			w, k := NewWindow(WindowConfig{}), Key{1, 2}
			all := make([]heldClick, n)
			began := time.Now()
			for i := range all {
				all[i] = heldClick{at(i), ID{hi: mix64(uint64(i)), lo: 1}}
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
				if wantOK := want < n && all[want].t <= from+60*minute; ok != wantOK || ok && (got != all[want].t || id != all[want].id) {
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
	id ID
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
	w := NewWindow(WindowConfig{Stripes: 2})
	const start, step = 1_795_000_000_000_000, 20_000
	var peak int64
	for i := range 3 * 24 * 60 * minute / step / 16 {
		at := start + i*step*16
		w.Insert(Key{Lo: uint64(i)}, at, ID{hi: uint64(i) + 1, lo: 1})
		if i%500 == 0 {
			w.Expire(at - 75*minute)
			peak = max(peak, w.Stats().Bytes)
		}
	}
	st := w.Stats()
	if limit := 75 * minute / step / 16 * 100; peak > limit {
		t.Fatalf("%d bytes at the peak for %d clicks, want at most %d", peak, st.Clicks, limit)
	}
	w.Expire(forever)
	if st := w.Stats(); st.Bytes > 256*1024 || st.Clicks != 0 {
		t.Fatalf("empty: %+v", st)
	}
}

// Clicks years apart cost no more than others.
func TestWindowFarApart(t *testing.T) {
	w := NewWindow(WindowConfig{})
	const year = 365 * 24 * 60 * minute
	k := Key{7, 7}
	for i := range int64(30) {
		for j := range int64(3) {
			if !w.Insert(k, (29-i)*year+j, ID{hi: uint64(j), lo: 1}) {
				t.Fatal("refused")
			}
		}
	}
	if st := w.Stats(); st.Bytes > 30_000 || st.Buckets != 30 || st.Oldest != 0 {
		t.Fatalf("%+v", st)
	}
	w.Expire(10*year + 1)
	if at, _, ok := w.First(k, 0, forever); !ok || at != 10*year+1 {
		t.Fatalf("%d %t", at, ok)
	}
	if st := w.Stats(); st.Buckets != 20 || st.Clicks != 60 || st.Oldest != 10*year+1 {
		t.Fatalf("%+v", st)
	}
}

// Under the race detector: whatever happens at once, an answer is a click that was inserted, in range and not below the floor
// as it was before the question.
func TestWindowConcurrently(t *testing.T) {
	w := NewWindow(WindowConfig{Stripes: 4})
	const start = 1_795_000_000_000_000
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(9, uint64(g)))
			batch := w.NewBatch()
			defer batch.Flush()
			for i := range 20_000 {
				k, now := Key{Lo: r.Uint64N(50)}, start+int64(i)*minute/200
				if batch.Full() {
					batch.Flush()
				}
				switch r.IntN(9) {
				case 0:
					w.Expire(now - 20*minute)
				case 8:
					at := now - r.Int64N(15*minute)
					batch.Add(k, at, MakeID(fmt.Appendf(nil, "%d-%d", k.Lo, at)))
				case 1, 2, 3:
					floor := w.Stats().Floor
					at, id, ok := w.First(k, now-10*minute, now)
					if ok && (at < floor || at < now-10*minute || at > now || id.String() != fmt.Sprintf("%d-%d", k.Lo, at)) {
						t.Errorf("key %d at %d: %d %s", k.Lo, now, at, id)
					}
				default:
					at := now - r.Int64N(15*minute)
					w.Insert(k, at, MakeID(fmt.Appendf(nil, "%d-%d", k.Lo, at)))
				}
			}
		})
	}
	wg.Wait()
	w.Expire(forever)
	if st := w.Stats(); st.Clicks != 0 || st.Buckets != 0 {
		t.Fatalf("%+v", st)
	}
}
