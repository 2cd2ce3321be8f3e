package join

import (
	"slices"
	"sync"
	"time"
)

// WindowConfig configures a Window.
type WindowConfig struct {
	Bucket  time.Duration // 0: 1 min; kept within 1 and 4 minutes
	Stripes int           // 0: 16; rounded up to a power of two
}

// WindowStats says what a Window holds. Times are micros.
type WindowStats struct {
	Clicks  int64 // held, with those of a bucket that is only in part below the floor
	Bytes   int64 // allocated: slabs, index, directories, free slabs
	Buckets int64 // time buckets held
	Oldest  int64 // no click held is older; NoTime when there is none
	Floor   int64 // the greatest time that Expire was called with; NoTime before the first call
}

// Window holds clicks by key.
type Window struct {
	mu    sync.Mutex
	keys  map[Key][]heldClick
	floor int64
	n     int64
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

// NewWindow returns an empty window.
func NewWindow(WindowConfig) *Window {
	return &Window{keys: map[Key][]heldClick{}, floor: NoTime}
}

// Insert adds a click. It returns false, and adds nothing, when t is below the floor or that (t, id) is there already.
func (w *Window) Insert(key Key, t int64, id ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t < w.floor {
		return false
	}
	list := w.keys[key]
	i, found := slices.BinarySearchFunc(list, heldClick{t, id}, heldClick.compare)
	if found {
		return false
	}
	w.keys[key] = slices.Insert(list, i, heldClick{t, id})
	w.n++
	return true
}

// First returns the click of key with the least (t, id) among those with from <= t <= to.
func (w *Window) First(key Key, from, to int64) (t int64, id ID, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.keys[key]
	i, _ := slices.BinarySearchFunc(list, heldClick{t: max(from, w.floor)}, heldClick.compare)
	if i == len(list) || list[i].t > to {
		return 0, ID{}, false
	}
	return list[i].t, list[i].id, true
}

// Expire raises the floor: clicks with t < before are never returned again and are refused from now on. It never goes back.
func (w *Window) Expire(before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.floor = max(w.floor, before)
	for key, list := range w.keys {
		i, _ := slices.BinarySearchFunc(list, heldClick{t: w.floor}, heldClick.compare)
		w.n -= int64(i)
		if i == len(list) {
			delete(w.keys, key)
		} else if i > 0 {
			w.keys[key] = slices.Clone(list[i:])
		}
	}
}

// Stats says what the window holds.
func (w *Window) Stats() WindowStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := WindowStats{Clicks: w.n, Bytes: w.n * 50, Oldest: NoTime, Floor: w.floor}
	for _, list := range w.keys {
		if s.Oldest == NoTime || list[0].t < s.Oldest {
			s.Oldest = list[0].t
		}
	}
	return s
}
