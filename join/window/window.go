package window

import (
	"math"
	"sync/atomic"

	"firstclick/join/event"
)

// bucketLength is the event time, in micros, whose clicks are freed at once. With a shorter one the
// numbers of buckets up to the year 9999 would not fit 32 bits. With one above 4 minutes a time
// within a bucket would not fit 28 bits of micros.
const bucketLength = 60_000_000

// Stats says what a Window holds. Times are micros.
type Stats struct {
	Clicks  int64 // with those of a bucket that is only in part below the floor
	Bytes   int64 // allocated: chunks, index, directories
	Buckets int64 // time buckets in the stripe that has most
	Oldest  int64 // no click is older (true to a bucket's length); NoTime: there is none
	Floor   int64 // the greatest time that Expire was called with; NoTime before the first call
}

// Window holds the clicks of every key. Safe for concurrent use.
//
// Keys are spread over stripes. A stripe has a lock, an index from a key to its newest click, and
// for each bucket of event time the words in which the clicks of that bucket lie. The clicks of one
// key in one bucket are a group: few are a chain, many a tree. Groups are linked from newer to
// older. A key of many groups has a directory of them instead. A bucket is freed whole: its number
// alone says that what points into it is dead.
type Window struct {
	mask    uint64
	seed    uint64
	stripes []stripe
	floor   atomic.Int64
}

// New returns an empty window. seed is a secret of the process: events can be made to unbalance the
// trees of a window whose seed is known.
func New(seed uint64) *Window { return newWindow(seed, 16) }

// newWindow makes a window of so many stripes, a power of two.
func newWindow(seed uint64, stripes int) *Window {
	w := &Window{mask: uint64(stripes - 1), seed: seed, stripes: make([]stripe, stripes)}
	w.floor.Store(event.NoTime)
	for i := range w.stripes {
		w.stripes[i].window = w
	}
	return w
}

// stripeOf finds a key's stripe, and mixes the key so that places in the index are even, whoever
// made the key. The mixing is a bijection: keys stay different.
func (w *Window) stripeOf(key event.Key) (*stripe, event.Key) {
	key = mixed(key)
	return &w.stripes[key.Hi&w.mask], key
}

func mixed(key event.Key) event.Key {
	return event.Key{Hi: event.Mix(key.Hi ^ event.Mix(key.Lo)), Lo: key.Lo}
}

// placeOf finds a time's bucket, and where in it the time is. ok is false for times that are not
// held.
func placeOf(t int64) (number, off uint32, ok bool) {
	if t < 0 || t >= event.EndOfTime {
		return 0, 0, false
	}
	return uint32(t / bucketLength), uint32(t % bucketLength), true
}

// Insert adds a click. It returns false, and adds nothing, if t is below the floor, before 1970 or
// after 9999, or if that (t, id) is there already.
func (w *Window) Insert(key event.Key, t int64, id event.ID) bool {
	number, off, ok := placeOf(t)
	if !ok {
		return false
	}
	s, key := w.stripeOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t < w.floor.Load() || !s.insert(key, number, off, id) {
		return false
	}
	s.clicks++
	return true
}

// First returns the click of key with the least (t, id) among those with from <= t <= to.
func (w *Window) First(key event.Key, from, to int64) (t int64, id event.ID, ok bool) {
	s, key := w.stripeOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.earliest(key, from, to, nil)
}

// After returns the click of key that comes next after (t, id), if its time is not after to.
func (w *Window) After(key event.Key, t int64, id event.ID, to int64) (int64, event.ID, bool) {
	s, key := w.stripeOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.earliest(key, t, to, &id)
}

// earliest is First of a mixed key. If after is given, clicks at from itself count only if their
// ids are greater.
func (s *stripe) earliest(key event.Key, from, to int64, after *event.ID) (t int64, id event.ID, ok bool) {
	w := s.window
	if least := max(w.floor.Load(), 0); from < least {
		from, after = least, nil
	}
	if to = min(to, event.EndOfTime-1); from > to {
		return 0, event.ID{}, false
	}
	b, ref := s.first(key, uint32(from/bucketLength), uint32(from%bucketLength), after)
	if ref == 0 {
		return 0, event.ID{}, false
	}
	r := b.words(ref)
	if t = int64(b.number)*bucketLength + int64(r[0]&timeMask); t > to {
		return 0, event.ID{}, false
	}
	return t, idOf(r).Clone(), true // what it views may be freed and used again
}

// Expire raises the floor: from now on clicks with t < before are neither found nor inserted.
// Memory is freed for whole buckets. The floor never goes back.
func (w *Window) Expire(before int64) {
	for {
		floor := w.floor.Load()
		if before <= floor {
			return
		}
		if w.floor.CompareAndSwap(floor, before) {
			if before < bucketLength || floor > 0 && before/bucketLength == floor/bucketLength {
				return // no bucket became free
			}
			break
		}
	}
	// An insertion that saw the old floor is over once its stripe's lock can be had.
	dead := uint32(min(before, event.EndOfTime) / bucketLength)
	for i := range w.stripes {
		s := &w.stripes[i]
		s.mu.Lock()
		s.expire(dead)
		s.mu.Unlock()
	}
}

// Stats says what the window holds. Figures of different stripes may be of slightly different
// moments.
func (w *Window) Stats() Stats {
	st := Stats{Oldest: event.NoTime, Floor: w.floor.Load()}
	oldest := uint32(math.MaxUint32)
	for i := range w.stripes {
		s := &w.stripes[i]
		s.mu.Lock()
		st.Clicks += s.clicks
		st.Bytes += s.bytes
		st.Buckets = max(st.Buckets, int64(len(s.buckets)))
		if len(s.buckets) > 0 {
			oldest = min(oldest, s.buckets[0].number)
		}
		s.mu.Unlock()
	}
	if oldest != math.MaxUint32 {
		st.Oldest = max(int64(oldest)*bucketLength, st.Floor)
	}
	return st
}
