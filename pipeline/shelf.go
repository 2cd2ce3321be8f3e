package pipeline

import (
	"math/bits"
	"sync"
)

// shelf keeps memory that was lent and given back, by size, for the next who asks. A sync.Pool would be emptied by every second collection, and
// a backlog has many a second, most of them because of what is made anew then. So a shelf keeps what it gets, and lets go by itself of what
// nobody asked for during the last lookEvery askings, and of what is above most. Safe for concurrent use.
type shelf[T any] struct {
	most  int // the sum of the sizes that lie on it; 0: any
	mu    sync.Mutex
	kept  int // the sum
	lying [classes][]T
	least [classes]int // the fewest that lay there since the last look
	asked int
}

const (
	classes   = 4 * 64
	lookEvery = 256
)

// roomy rounds a size up, by a quarter at most, to one that is all of its class.
func roomy(n int) int {
	n = max(n, 4)
	step := 1 << (bits.Len(uint(n)) - 3)
	return (n + step - 1) &^ (step - 1)
}

// class is that of the greatest rounded size not above n, which is 4 at least: four to a power of two.
func class(n int) int {
	k := bits.Len(uint(n)) - 3
	return 4*k + n>>k - 4
}

// sizeOf is the least size of a class.
func sizeOf(class int) int { return (4 + class%4) << (class / 4) }

// take returns something of a size that roomy has rounded, if there is any.
func (s *shelf[T]) take(size int) (thing T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.asked == lookEvery {
		s.tidy()
	}
	var none T
	c := class(size)
	n := len(s.lying[c]) - 1
	if n < 0 {
		return none, false
	}
	thing, s.lying[c][n] = s.lying[c][n], none
	s.lying[c] = s.lying[c][:n]
	s.least[c] = min(s.least[c], n)
	s.kept -= sizeOf(c)
	return thing, true
}

// give puts something of a size of 4 or more on the shelf. Whoever gives it uses it no more.
func (s *shelf[T]) give(size int, thing T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := class(size)
	if s.most > 0 && s.kept+sizeOf(c) > s.most {
		return
	}
	s.kept += sizeOf(c)
	s.lying[c] = append(s.lying[c], thing)
}

// tidy lets go of what lay there all the while.
func (s *shelf[T]) tidy() {
	s.asked = 0
	for c, lying := range &s.lying {
		s.kept -= s.least[c] * sizeOf(c)
		kept := lying[s.least[c]:]
		n := copy(lying, kept)
		clear(lying[n:])
		s.lying[c], s.least[c] = lying[:n], n
	}
}
