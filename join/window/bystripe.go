package window

import "firstclick/join/event"

// byStripe takes many keys to their stripes: one lock for all of a stripe, and their places in its index are looked at before anything is done with
// the first. A place is a cache line from anywhere in hundreds of megabytes; asked for one after the other they are waited for side by side, and
// that wait is most of what a key costs. For one goroutine.
type byStripe struct {
	window *Window
	keys   []event.Key // mixed
	next   []uint16    // by key: the next one of the same stripe, counted from 1; 0: none
	heads  []uint16    // by stripe: its first key, likewise
	looked uint64      // keeps the compiler from leaving out what is only looked at
}

// manyKeys is how many keys are taken at once.
const manyKeys = 256

func newByStripe(w *Window) byStripe {
	return byStripe{window: w, keys: make([]event.Key, 0, manyKeys), next: make([]uint16, manyKeys), heads: make([]uint16, len(w.stripes))}
}

func (g *byStripe) add(key event.Key) { g.keys = append(g.keys, mixed(key)) }

// each calls do for each stripe that has keys, under its lock. Theirs are head-1 and, while it is not 0, next[head-1]-1 and so on, in the order in
// which they were added.
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
	for n := head; n != 0; n = g.next[n-1] {
		g.looked ^= s.index.look(g.keys[n-1])
	}
	do(s, head)
}

// look reads where a key's slot is, or would be.
func (x *index) look(key event.Key) uint64 {
	if x.size == 0 {
		return 0
	}
	return x.slots[x.place(key)].key.Lo
}
