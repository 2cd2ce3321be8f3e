package join

// Lookups answers First for many keys together, as Batch inserts many clicks: a stripe at a time, and what an answer needs is asked for before the
// first is worked out, so that cache misses are waited for side by side. For one goroutine.
type Lookups struct {
	window *Window
	asked  []lookup
	heads  []uint16 // the first question of each stripe, counted from 1; 0: none
	looked uint64   // keeps the compiler from leaving out what is only looked at
}

type lookup struct {
	key      Key // mixed
	from, to int64
	next     uint16 // of the same stripe
	found    bool
	time     int64
	id       ID
}

// LookupsSize is how many questions Lookups takes.
const LookupsSize = 256

// NewLookups returns one without questions.
func (w *Window) NewLookups() *Lookups {
	return &Lookups{window: w, asked: make([]lookup, 0, LookupsSize), heads: make([]uint16, len(w.stripes))}
}

// Reset forgets questions and answers.
func (l *Lookups) Reset() {
	clear(l.asked) // ids may be texts
	l.asked = l.asked[:0]
}

// Ask adds a question: see [Window.First].
func (l *Lookups) Ask(key Key, from, to int64) {
	l.asked = append(l.asked, lookup{key: mixed(key), from: from, to: to})
}

// Find answers all questions.
func (l *Lookups) Find() {
	w := l.window
	for n := len(l.asked) - 1; n >= 0; n-- {
		q := &l.asked[n]
		head := &l.heads[q.key.Hi&w.mask]
		q.next, *head = *head, uint16(n+1)
	}
	for n, head := range l.heads {
		if head != 0 {
			l.in(&w.stripes[n], head)
			l.heads[n] = 0
		}
	}
}

// in answers the questions of one stripe.
func (l *Lookups) in(s *stripe, head uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.asked[head-1].next != 0 {
		for n := head; n != 0; n = l.asked[n-1].next {
			l.looked ^= s.index.look(l.asked[n-1].key)
		}
		for n := head; n != 0; n = l.asked[n-1].next {
			l.looked ^= s.look(l.asked[n-1].key)
		}
	}
	for n := head; n != 0; n = l.asked[n-1].next {
		q := &l.asked[n-1]
		q.time, q.id, q.found = s.earliest(q.key, q.from, q.to)
	}
}

// Answer is that to question n, counted from 0.
func (l *Lookups) Answer(n int) (t int64, id ID, ok bool) {
	q := &l.asked[n]
	return q.time, q.id, q.found
}

// look reads what a key's newest group begins with.
func (s *stripe) look(key Key) uint64 {
	e := s.index.find(key)
	if e == nil || e.bucket < s.dead || e.ref&directoryFlag != 0 {
		return 0
	}
	return uint64(s.bucket(e.bucket).words(e.ref)[0])
}
