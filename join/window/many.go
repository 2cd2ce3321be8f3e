package window

import "firstclick/join/event"

// many is how many keys are taken at once.
const many = 256

// byStripe takes many keys to their stripes: one lock for all keys of a stripe. It looks at all of
// their places in the index before anything is done with the first. A place is a cache line from
// anywhere in hundreds of megabytes, and the wait for it is most of what a key costs. Asked for one
// after the other, such lines are waited for side by side. For one goroutine.
type byStripe struct {
	window *Window
	keys   []event.Key // mixed
	next   []uint16    // by key: the next one of the same stripe, counted from 1; 0: none
	heads  []uint16    // by stripe: its first key, likewise
	looked uint64      // keeps the compiler from leaving out what is only looked at
}

func newByStripe(w *Window) byStripe {
	return byStripe{
		window: w, keys: make([]event.Key, 0, many), next: make([]uint16, many), heads: make([]uint16, len(w.stripes)),
	}
}

func (g *byStripe) add(key event.Key) { g.keys = append(g.keys, mixed(key)) }

// each calls do for each stripe that has keys, under its lock. The stripe's keys are head-1 and,
// while it is not 0, next[head-1]-1 and so on, in the order in which they were added.
func (g *byStripe) each(do func(s *stripe, head uint16)) {
	w := g.window
	for n := len(g.keys) - 1; n >= 0; n-- {
		head := &g.heads[g.keys[n].Hi&w.mask]
		g.next[n], *head = *head, uint16(n+1)
	}
	for n, head := range g.heads {
		if head != 0 {
			g.in(&w.stripes[n], head, do)
			g.heads[n] = 0
		}
	}
}

func (g *byStripe) in(s *stripe, head uint16, do func(s *stripe, head uint16)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := &s.index; x.size > 0 {
		for n := head; n != 0; n = g.next[n-1] {
			g.looked ^= x.slots[x.place(g.keys[n-1])].key.Lo
		}
	}
	do(s, head)
}

// Batch collects clicks and inserts them together, a stripe at a time. For one goroutine.
type Batch struct {
	by     byStripe
	clicks []batched // by key
}

type batched struct {
	number, off uint32
	id          event.ID
}

// BatchSize is how many clicks a Batch holds.
const BatchSize = many

// NewBatch returns an empty batch.
func (w *Window) NewBatch() *Batch {
	return &Batch{by: newByStripe(w), clicks: make([]batched, 0, BatchSize)}
}

// Full says that Flush has to be called before the next Add.
func (b *Batch) Full() bool { return len(b.clicks) == BatchSize }

// Add takes a click in. It is in the window after the next Flush, if Insert would have taken it.
func (b *Batch) Add(key event.Key, t int64, id event.ID) {
	if number, off, ok := placeOf(t); ok {
		b.by.add(key)
		b.clicks = append(b.clicks, batched{number: number, off: off, id: id})
	}
}

// Flush inserts what was added, in that order within a key.
func (b *Batch) Flush() {
	w := b.by.window
	b.by.each(func(s *stripe, head uint16) {
		floor := w.floor.Load() // Expire waits for the lock once it has raised the floor
		for n := head; n != 0; n = b.by.next[n-1] {
			c := &b.clicks[n-1]
			if int64(c.number)*bucketLength+int64(c.off) >= floor && s.insert(b.by.keys[n-1], c.number, c.off, c.id) {
				s.clicks++
			}
		}
	})
	clear(b.clicks) // ids may be texts
	b.by.keys, b.clicks = b.by.keys[:0], b.clicks[:0]
}

// Lookups answers First for many keys together, a stripe at a time. For one goroutine.
type Lookups struct {
	by    byStripe
	asked []lookup // by key
}

type lookup struct {
	from, to int64
	found    bool
	time     int64
	id       event.ID
}

// LookupsSize is how many questions Lookups takes.
const LookupsSize = many

// NewLookups returns one without questions.
func (w *Window) NewLookups() *Lookups {
	return &Lookups{by: newByStripe(w), asked: make([]lookup, 0, LookupsSize)}
}

// Reset forgets questions and answers.
func (l *Lookups) Reset() {
	clear(l.asked) // ids may be texts
	l.by.keys, l.asked = l.by.keys[:0], l.asked[:0]
}

// Ask adds a question: see [Window.First].
func (l *Lookups) Ask(key event.Key, from, to int64) {
	l.by.add(key)
	l.asked = append(l.asked, lookup{from: from, to: to})
}

// Find answers all questions.
func (l *Lookups) Find() {
	l.by.each(func(s *stripe, head uint16) {
		if l.by.next[head-1] != 0 { // what each answer begins with is such a cache line too
			for n := head; n != 0; n = l.by.next[n-1] {
				l.by.looked ^= s.newest(l.by.keys[n-1])
			}
		}
		for n := head; n != 0; n = l.by.next[n-1] {
			q := &l.asked[n-1]
			q.time, q.id, q.found = s.earliest(l.by.keys[n-1], q.from, q.to, nil)
		}
	})
}

// Answer is that to question n, counted from 0.
func (l *Lookups) Answer(n int) (t int64, id event.ID, ok bool) {
	q := &l.asked[n]
	return q.time, q.id, q.found
}

// newest reads what a key's newest group begins with.
func (s *stripe) newest(key event.Key) uint64 {
	e := s.index.find(key)
	if e == nil || e.bucket < s.dead || e.ref&directoryFlag != 0 {
		return 0
	}
	return uint64(s.bucket(e.bucket).words(e.ref)[0])
}
