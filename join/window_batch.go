package join

// Batch collects clicks for a window and inserts them together, a stripe at a time: one lock for many, and the places of all in the index
// are looked at before the first is inserted. A place is a cache line from anywhere in hundreds of megabytes; asked for one after the other
// they are waited for side by side, and that wait is most of what an insertion costs. For one goroutine.
type Batch struct {
	window *Window
	clicks []batched
	heads  []uint16 // the first click of each stripe, counted from 1; 0: none
	looked uint64   // keeps the compiler from leaving out what is only looked at
}

type batched struct {
	key         Key // mixed
	number, off uint32
	id          ID
	next        uint16 // of the same stripe
}

// BatchSize is how many clicks a Batch holds.
const BatchSize = 256

// NewBatch returns an empty batch.
func (w *Window) NewBatch() *Batch {
	return &Batch{window: w, clicks: make([]batched, 0, BatchSize), heads: make([]uint16, len(w.stripes))}
}

// Full says that Flush has to be called before the next Add.
func (b *Batch) Full() bool { return len(b.clicks) == BatchSize }

// Add takes a click in. It is in the window after the next Flush, if Insert would have taken it.
func (b *Batch) Add(key Key, t int64, id ID) {
	if number, off, ok := b.window.placeOf(t); ok {
		b.clicks = append(b.clicks, batched{key: mixed(key), number: number, off: off, id: id})
	}
}

// Flush inserts what was added, in that order within a key.
func (b *Batch) Flush() {
	w := b.window
	for n := len(b.clicks) - 1; n >= 0; n-- {
		c := &b.clicks[n]
		head := &b.heads[c.key.Hi&w.mask]
		c.next, *head = *head, uint16(n+1)
	}
	for n, head := range b.heads {
		if head != 0 {
			b.into(&w.stripes[n], head)
			b.heads[n] = 0
		}
	}
	clear(b.clicks) // ids may be texts
	b.clicks = b.clicks[:0]
}

// into inserts the clicks of one stripe.
func (b *Batch) into(s *stripe, head uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := head; n != 0; n = b.clicks[n-1].next {
		b.looked ^= s.index.look(b.clicks[n-1].key)
	}
	floor, inserted := b.window.floor.Load(), int64(0) // Expire waits for the lock once it has raised the floor
	for n := head; n != 0; n = b.clicks[n-1].next {
		c := &b.clicks[n-1]
		if int64(c.number)*b.window.length+int64(c.off) >= floor && s.insert(c.key, c.number, c.off, c.id) {
			inserted++
		}
	}
	s.clicks.Add(inserted)
}

// look reads where a key's slot is, or would be.
func (x *index) look(key Key) uint64 {
	if x.size == 0 {
		return 0
	}
	return x.slots[x.place(key)].key.Lo
}
