package chunk

import (
	"firstclick/internal/sizepool"
	"firstclick/join/event"
)

// Chunk is what one read brought of a checkouts partition, in the order of the offsets.
type Chunk struct {
	Partition int32
	Checkouts []event.Checkout
	Slab      []byte // the bytes of the checkouts, appended while they are decoded
	Bytes     int64  // of the records' values

	left int // checkouts that are not committed yet
}

// LeastRecord is what a record counts as at least, in bytes, however small its value: a queue entry
// and a dead letter take memory of their own.
const LeastRecord = 256

// weight is what the chunk counts as while it is held.
func (c *Chunk) weight() int64 { return max(c.Bytes, int64(len(c.Checkouts))*LeastRecord) }

// Pool lends chunks. Safe for concurrent use.
type Pool struct{ pool sizepool.Pool[*Chunk] } // by the bytes of their slabs

// maxKeptSlab is the size up to which a chunk is kept for the next read.
const maxKeptSlab = 32 << 20

// NewPool makes a pool that keeps at most so many bytes; 0: no bound.
func NewPool(limit int64) *Pool {
	return &Pool{sizepool.Pool[*Chunk]{Limit: int(limit)}}
}

// Get lends a chunk for n records with values of size bytes together. Its checkouts are zero.
func (p *Pool) Get(partition int32, n, size int) *Chunk {
	room := sizepool.Round(2 * size) // for the values and for what is decoded from them
	c, _ := p.pool.Get(room)
	if c == nil {
		c = &Chunk{Slab: make([]byte, 0, room)}
	}
	if cap(c.Checkouts) < n {
		c.Checkouts = make([]event.Checkout, sizepool.Round(n))
	}
	c.Partition, c.Checkouts, c.Slab, c.left, c.Bytes = partition, c.Checkouts[:n], c.Slab[:0], n, int64(size)
	return c
}

// Put takes a chunk back. Nothing of it may be used any more.
func (p *Pool) Put(c *Chunk) {
	if cap(c.Slab) <= maxKeptSlab {
		clear(c.Checkouts)
		p.pool.Put(cap(c.Slab), c)
	}
}

// Held is the memory of a shard's checkouts between their fetch and their transaction, oldest
// first.
type Held struct {
	Bytes  int64
	chunks []*Chunk
}

// Add takes in what a read brought, without the first skip records.
func (h *Held) Add(c *Chunk, skip int, pool *Pool) {
	if c.left -= skip; c.left == 0 {
		pool.Put(c)
		return
	}
	h.chunks = append(h.chunks, c)
	h.Bytes += c.weight()
}

// Drop gives the memory of the oldest n records back.
func (h *Held) Drop(n int, pool *Pool) {
	done := 0
	for n > 0 {
		c := h.chunks[done]
		m := min(n, c.left)
		n -= m
		if c.left -= m; c.left > 0 {
			break
		}
		h.Bytes -= c.weight()
		pool.Put(c)
		done++
	}
	if done > 0 {
		rest := copy(h.chunks, h.chunks[done:])
		clear(h.chunks[rest:])
		h.chunks = h.chunks[:rest]
	}
}
