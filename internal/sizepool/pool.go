package sizepool

import (
	"math/bits"
	"sync"
)

// Pool keeps values by their size, in classes of four to a power of two. The zero value has no
// limit. Safe for concurrent use.
type Pool[T any] struct {
	Limit int // of the sum of the sizes that are kept; 0: none

	mu     sync.Mutex
	kept   int // the sum
	values [classes][]T
	unused [classes]int // the fewest values that were kept since the last trim
	gets   int
}

const (
	classes   = 4 * 64
	trimEvery = 256 // calls of Get
)

// Round rounds a size up, by a quarter at most, to the least size of its class.
func Round(n int) int {
	n = max(n, 4)
	step := 1 << (bits.Len(uint(n)) - 3)
	return (n + step - 1) &^ (step - 1)
}

// class is that of the greatest rounded size not above n, which is at least 4.
func class(n int) int {
	k := bits.Len(uint(n)) - 3
	return 4*k + n>>k - 4
}

// sizeOf is the least size of a class.
func sizeOf(class int) int { return (4 + class%4) << (class / 4) }

// Get takes a value of a size that Round has rounded, if the pool has one.
func (p *Pool[T]) Get(size int) (value T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gets++; p.gets == trimEvery {
		p.trim()
	}
	var none T
	c := class(size)
	n := len(p.values[c]) - 1
	if n < 0 {
		return none, false
	}
	value, p.values[c][n] = p.values[c][n], none
	p.values[c] = p.values[c][:n]
	p.unused[c] = min(p.unused[c], n)
	p.kept -= sizeOf(c)
	return value, true
}

// Put gives the pool a value of a size of at least 4. The caller uses it no more.
func (p *Pool[T]) Put(size int, value T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := class(size)
	if p.Limit > 0 && p.kept+sizeOf(c) > p.Limit {
		return
	}
	p.kept += sizeOf(c)
	p.values[c] = append(p.values[c], value)
}

// trim drops the values that were kept all the time since the last trim.
func (p *Pool[T]) trim() {
	p.gets = 0
	for c, values := range &p.values {
		p.kept -= p.unused[c] * sizeOf(c)
		n := copy(values, values[p.unused[c]:])
		clear(values[n:])
		p.values[c], p.unused[c] = values[:n], n
	}
}
