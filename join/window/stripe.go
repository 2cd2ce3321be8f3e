package window

import (
	"slices"
	"sync"

	"firstclick/join/event"
)

// stripe holds a share of the keys. Its lock guards all of it.
type stripe struct {
	mu      sync.Mutex
	window  *Window
	index   index
	buckets []*bucket // by number
	recent  *bucket   // the one used last
	dead    uint32    // every bucket below this number was freed

	directories     []directory
	freeDirectories []uint32

	clicks int64
	bytes  int64
	_      [64]byte // the next stripe's lock is in another cache line
}

// bucket finds a bucket that exists.
func (s *stripe) bucket(number uint32) *bucket {
	if s.recent != nil && s.recent.number == number {
		return s.recent
	}
	i, found := s.search(number)
	if !found {
		panic("window: link to a bucket that does not exist")
	}
	s.recent = s.buckets[i]
	return s.recent
}

func (s *stripe) search(number uint32) (int, bool) {
	lo, hi := 0, len(s.buckets)
	for lo < hi {
		if mid := (lo + hi) / 2; s.buckets[mid].number < number {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(s.buckets) && s.buckets[lo].number == number
}

// open finds a bucket, or makes it.
func (s *stripe) open(number uint32) *bucket {
	if s.recent != nil && s.recent.number == number {
		return s.recent
	}
	i, found := s.search(number)
	if !found {
		s.buckets = slices.Insert(s.buckets, i, &bucket{number: number, used: 1})
		s.bytes += bucketBytes
	}
	s.recent = s.buckets[i]
	return s.recent
}

// expire frees the buckets below a number.
func (s *stripe) expire(dead uint32) {
	if dead <= s.dead {
		return
	}
	s.dead = dead
	n, _ := s.search(dead)
	if n == 0 {
		return
	}
	for _, b := range s.buckets[:n] {
		s.clicks -= b.clicks
		s.bytes -= bucketBytes
		for _, c := range b.chunks {
			s.bytes -= chunkOverhead + int64(len(c))*4
		}
	}
	s.buckets = slices.Delete(s.buckets, 0, n)
	s.recent = nil
	// Each live key has a click, so many more slots than clicks are dead ones. Fewer dead slots
	// wait for the next growth.
	if int64(s.index.used) > 2*s.clicks {
		s.rebuild(0)
	}
}

func (s *stripe) insert(key event.Key, number, off uint32, id event.ID) bool {
	e := s.slotFor(key)
	if e.ref != 0 && e.bucket < s.dead {
		s.drop(e)
	}
	b := s.open(number)
	switch {
	case e.ref == 0:
		e.bucket = number
		e.ref, _ = s.write(b, recordEnd, off, id)
		b.clicks++
		return true
	case e.ref&directoryFlag != 0:
		return s.insertDirectory(e, b, off, &id)
	case e.bucket == number:
		return s.insertGroup(b, link{&e.bucket, &e.ref}, off, &id)
	case e.bucket < number:
		ref, r := s.write(b, recordFar, off, id)
		r[1], r[2] = e.bucket, e.ref
		e.bucket, e.ref = number, ref
		b.clicks++
		return true
	}
	return s.insertOlder(e, b, off, &id)
}

// maxWalk is how many records are looked at along a key's groups before the key gets a directory.
const maxWalk = 32

// insertOlder adds a click that is older than its key's newest group.
func (s *stripe) insertOlder(e *slot, b *bucket, off uint32, id *event.ID) bool {
	head, walked := link{&e.bucket, &e.ref}, 0
	for {
		newer := s.bucket(*head.number)
		r, _, steps := newer.bottom(head)
		walked += steps
		number, ref := older(r)
		if ref == 0 || number < s.dead || number < b.number {
			kind := uint32(recordEnd)
			if ref != 0 && number >= s.dead {
				kind = recordFar
			}
			fresh, words := s.write(b, kind, off, *id)
			if kind == recordFar {
				words[1], words[2] = number, ref
			}
			s.setOlder(newer, head, b.number, fresh)
			b.clicks++
			break
		}
		head = link{&r[1], &r[2]}
		if number == b.number {
			if !s.insertGroup(b, head, off, id) {
				return false
			}
			break
		}
	}
	if walked > maxWalk {
		s.promote(e)
	}
	return true
}

// older is the next older group that a bottom record links to; ref 0: there is none.
func older(r []uint32) (number, ref uint32) {
	switch r[0] >> kindShift {
	case recordFar, recordTree:
		return r[1], r[2]
	}
	return 0, 0
}

// first finds the least click of key at or after off in bucket number, or after (off, after) if
// that is given. ref 0: there is none.
func (s *stripe) first(key event.Key, number, off uint32, after *event.ID) (*bucket, uint32) {
	e := s.index.find(key)
	if e == nil || e.bucket < s.dead {
		return nil, 0
	}
	if e.ref&directoryFlag != 0 {
		return s.firstDirectory(e, number, off, after)
	}
	// The oldest group that is not before the bucket has it, or the next newer one if all clicks of
	// that group are before off.
	var b, newer *bucket
	var ref, newerRef uint32
	walked := 0
	for at := (link{&e.bucket, &e.ref}); *at.ref != 0 && *at.number >= max(number, s.dead); {
		newer, newerRef = b, ref
		b, ref = s.bucket(*at.number), *at.ref
		if b.number == number {
			break
		}
		r, _, steps := b.bottom(at)
		walked += steps
		if r[0]>>kindShift < recordFar {
			break
		}
		at = link{&r[1], &r[2]}
	}
	if walked > maxWalk {
		s.promote(e)
	}
	if b == nil {
		return nil, 0
	}
	if b.number > number {
		off, after = 0, nil
	}
	if found := b.least(ref, off, after); found != 0 {
		return b, found
	}
	if newer == nil {
		return nil, 0
	}
	return newer, newer.least(newerRef, 0, nil)
}
