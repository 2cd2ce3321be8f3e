package pipeline

import "firstclick/join"

// chunk is the memory of what one read brought of a shard: queue entries, what they carry, and the bytes of that. It is lent out again
// when the last of its records has become a row or a dead letter.
type chunk struct {
	records []join.Pending
	carried []checkoutRecord
	slab    []byte
	left    int   // records on their way, in the order of the offsets
	bytes   int64 // of the records' values
}

// leastRecord is what a record counts as at least, however small its value: a queue entry and a dead letter take memory of their own.
const leastRecord = 256

// weight is what the chunk counts as while it is held.
func (k *chunk) weight() int64 { return max(k.bytes, int64(len(k.records))*leastRecord) }

// chunks lends chunks. Safe for concurrent use.
type chunks struct{ shelf shelf[*chunk] } // by the bytes of their slabs

// maxKeptSlab is the size up to which a chunk's memory is kept for the next read.
const maxKeptSlab = 32 << 20

// take returns a chunk for n records of size bytes together. Its entries are zero.
func (c *chunks) take(n, size int) *chunk {
	room := roomy(2 * size) // for what a row takes and for the value, which is kept for a dead letter
	k, _ := c.shelf.take(room)
	if k == nil {
		k = &chunk{slab: make([]byte, 0, room)}
	}
	if cap(k.records) < n {
		room := roomy(n)
		k.records, k.carried = make([]join.Pending, room), make([]checkoutRecord, room)
	}
	k.records, k.carried, k.slab, k.left, k.bytes = k.records[:n], k.carried[:n], k.slab[:0], n, int64(size)
	return k
}

// give takes a chunk back. Nothing of it may be used any more.
func (c *chunks) give(k *chunk) {
	if cap(k.slab) > maxKeptSlab {
		return
	}
	clear(k.records)
	clear(k.carried)
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
