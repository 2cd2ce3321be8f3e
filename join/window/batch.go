package window

import "firstclick/join/event"

// Batch collects clicks for a window and inserts them together, a stripe at a time (see byStripe). For one goroutine.
type Batch struct {
	by     byStripe
	clicks []batched // by key
}

type batched struct {
	number, off uint32
	id          event.ID
}

// BatchSize is how many clicks a Batch holds.
const BatchSize = manyKeys

// NewBatch returns an empty batch.
func (w *Window) NewBatch() *Batch {
	return &Batch{by: newByStripe(w), clicks: make([]batched, 0, BatchSize)}
}

// Full says that Flush has to be called before the next Add.
func (b *Batch) Full() bool { return len(b.clicks) == BatchSize }

// Add takes a click in. It is in the window after the next Flush, if Insert would have taken it.
func (b *Batch) Add(key event.Key, t int64, id event.ID) {
	if number, off, ok := b.by.window.placeOf(t); ok {
		b.by.add(key)
		b.clicks = append(b.clicks, batched{number: number, off: off, id: id})
	}
}

// Flush inserts what was added, in that order within a key.
func (b *Batch) Flush() {
	b.by.each(b.into)
	clear(b.clicks) // ids may be texts
	b.by.keys, b.clicks = b.by.keys[:0], b.clicks[:0]
}

// into inserts the clicks of one stripe.
func (b *Batch) into(s *stripe, head uint16) {
	w := b.by.window
	floor, inserted := w.floor.Load(), int64(0) // Expire waits for the lock once it has raised the floor
	for n := head; n != 0; n = b.by.next[n-1] {
		c := &b.clicks[n-1]
		if int64(c.number)*w.length+int64(c.off) >= floor && s.insert(b.by.keys[n-1], c.number, c.off, c.id) {
			inserted++
		}
	}
	s.clicks.Add(inserted)
}
