package pipeline

import "firstclick/join/event"

// chunk is the memory of what one read brought of a shard: its records as checkouts, and the bytes
// that they keep. It is lent. It is given back when the last of its records has become a row or a
// dead letter.
type chunk struct {
	records []event.Checkout
	slab    []byte
	left    int   // records on their way, in the order of the offsets
	bytes   int64 // of the records' values
}

// leastRecord is what a record counts as at least, however small its value: a checkout and a dead
// letter take memory of their own.
const leastRecord = 256

// weight is what the chunk counts as while it is held.
func (k *chunk) weight() int64 { return max(k.bytes, int64(len(k.records))*leastRecord) }

// chunks lends chunks. Safe for concurrent use.
type chunks struct{ shelf shelf[*chunk] } // by the bytes of their slabs

// maxKeptSlab is the size up to which a chunk's memory is kept for the next read.
const maxKeptSlab = 32 << 20

// take returns a chunk for n records of size bytes together. Its records are zero.
func (c *chunks) take(n, size int) *chunk {
	room := roomy(size + size/4) // the values, and texts that do not stand in them as they are
	k, _ := c.shelf.take(room)
	if k == nil {
		k = &chunk{slab: make([]byte, 0, room)}
	}
	if cap(k.records) < n {
		k.records = make([]event.Checkout, roomy(n))
	}
	k.records, k.slab, k.left, k.bytes = k.records[:n], k.slab[:0], n, int64(size)
	return k
}

// give takes a chunk back. Nothing of it may be used any more.
func (c *chunks) give(k *chunk) {
	if cap(k.slab) > maxKeptSlab {
		return
	}
	clear(k.records)
	c.shelf.give(cap(k.slab), k)
}

// held is the memory of a shard's records between their fetch and their transaction, oldest first.
type held struct {
	chunks []*chunk
	bytes  int64
	gone   int // records released since the last batch was taken
}

// add takes in what a read brought, of which the first skip records are not wanted.
func (h *held) add(k *chunk, skip int, back *chunks) {
	if k.left -= skip; k.left == 0 {
		back.give(k)
		return
	}
	h.chunks = append(h.chunks, k)
	h.bytes += k.weight()
}

// settle lets go of the oldest n records.
func (h *held) settle(n int, back *chunks) {
	done := 0
	for n > 0 {
		k := h.chunks[done]
		m := min(n, k.left)
		n -= m
		if k.left -= m; k.left > 0 {
			break
		}
		h.bytes -= k.weight()
		back.give(k)
		done++
	}
	if done > 0 {
		rest := copy(h.chunks, h.chunks[done:])
		clear(h.chunks[rest:])
		h.chunks = h.chunks[:rest]
	}
}
