package join

import "slices"

// remembered is how many of the newest events say how far their partition is.
const remembered = 31

// Of so few the latest counts: they say nothing of each other.
const tooFew = 8

// times are those of the newest events of a partition. One wrong clock among them does not say how far the partition is, also where nobody can
// know any more that it was ahead: in a backlog, and in what is read again.
type times struct {
	ring [remembered]int64
	n    int // ever added
}

func (r *times) add(t int64) {
	r.ring[r.n%remembered] = t
	r.n++
}

// addAll adds what o holds.
func (r *times) addAll(o *times) {
	for i := max(0, o.n-remembered); i < o.n; i++ {
		r.add(o.ring[i%remembered])
	}
}

// reached is the greatest time, or, of more than a few, the greatest that lies no more than apart after the median. NoTime: there is none.
func (r *times) reached(apart int64) int64 {
	if r.n == 0 {
		return NoTime
	}
	sorted := r.ring
	some := sorted[:min(r.n, remembered)]
	slices.Sort(some)
	if len(some) < tooFew {
		return some[len(some)-1]
	}
	median := some[(len(some)-1)/2]
	beyond, _ := slices.BinarySearch(some, median+apart+1)
	return some[beyond-1]
}
