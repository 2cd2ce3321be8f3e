package window

import (
	"slices"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

// plainWindow is the window again, plain: what the window is tested against.
type plainWindow struct {
	keys  map[event.Key][]plainClickAt
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
	return &plainWindow{keys: map[event.Key][]plainClickAt{}, floor: event.NoTime}
}

func (w *plainWindow) Insert(key event.Key, t int64, id string) bool {
	i, found := slices.BinarySearchFunc(w.keys[key], plainClickAt{t, id}, plainClickAt.compare)
	if found || t < w.floor || t < 0 {
		return false
	}
	w.keys[key] = slices.Insert(w.keys[key], i, plainClickAt{t, id})
	return true
}

func (w *plainWindow) First(key event.Key, from, to int64) (plainClickAt, bool) {
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

// pair is a window and its plain twin.
type pair struct {
	w *Window
	p *plainWindow
}

func newPair(stripes int) pair { return pair{newWindow(3, stripes), newPlainWindow()} }

func (x pair) insert(t jointest.Fataler, key event.Key, at int64, id string) {
	if got, want := x.w.Insert(key, at, event.MakeID([]byte(id))), x.p.Insert(key, at, id); got != want {
		t.Fatalf("insert %v %d %q: %t, want %t", key, at, id, got, want)
	}
}

func (x pair) first(t jointest.Fataler, key event.Key, from, to int64) {
	at, id, ok := x.w.First(key, from, to)
	x.isFirst(t, key, from, to, at, id, ok)
}

func (x pair) isFirst(t jointest.Fataler, key event.Key, from, to, at int64, id event.ID, ok bool) {
	want, wantOK := x.p.First(key, from, to)
	if ok != wantOK || ok && (at != want.t || id.String() != want.id) {
		t.Fatalf("first %v %d..%d: %d %s %t, want %v %t", key, from, to, at, id, ok, want, wantOK)
	}
}

func (x pair) expire(t jointest.Fataler, before int64) {
	x.w.Expire(before)
	x.p.floor = max(x.p.floor, before)
	x.check(t)
}

// check holds the figures against the plain ones and against what is really there.
func (x pair) check(t jointest.Fataler) {
	st := x.w.Stats()
	least := x.p.Clicks(x.p.floor)
	if most := x.p.Clicks(x.p.floor - bucketLength); st.Clicks < least || st.Clicks > most && x.p.floor > 0 {
		t.Fatalf("%d clicks, want %d to %d", st.Clicks, least, most)
	}
	if st.Floor != x.p.floor {
		t.Fatalf("floor %d, want %d", st.Floor, x.p.floor)
	}
	for _, list := range x.p.keys {
		for _, c := range list {
			if c.t >= x.p.floor && (st.Oldest == event.NoTime || c.t < st.Oldest) {
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
		n += int64(cap(s.directories)) * 24
		for _, d := range s.directories {
			n += int64(cap(d.groups)) * groupBytes
		}
	}
	return n
}

const minute = int64(60_000_000)

// keyOf is a key in which one half or the other is n.
func keyOf(n uint64) event.Key {
	if n&1 == 0 {
		return event.Key{Hi: n}
	}
	return event.Key{Lo: n}
}
