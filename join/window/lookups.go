package window

import "firstclick/join/event"

// Lookups answers First for many keys together, a stripe at a time (see byStripe). For one goroutine.
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
const LookupsSize = manyKeys

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
func (l *Lookups) Find() { l.by.each(l.in) }

// in answers the questions of one stripe. What each answer begins with is a cache line from anywhere too.
func (l *Lookups) in(s *stripe, head uint16) {
	if l.by.next[head-1] != 0 { // else there is nothing to wait for beside it
		for n := head; n != 0; n = l.by.next[n-1] {
			l.by.looked ^= s.look(l.by.keys[n-1])
		}
	}
	for n := head; n != 0; n = l.by.next[n-1] {
		q := &l.asked[n-1]
		q.time, q.id, q.found = s.earliest(l.by.keys[n-1], q.from, q.to, nil)
	}
}

// Answer is that to question n, counted from 0.
func (l *Lookups) Answer(n int) (t int64, id event.ID, ok bool) {
	q := &l.asked[n]
	return q.time, q.id, q.found
}

// look reads what a key's newest group begins with.
func (s *stripe) look(key event.Key) uint64 {
	e := s.index.find(key)
	if e == nil || e.bucket < s.dead || e.ref&directoryFlag != 0 {
		return 0
	}
	return uint64(s.bucket(e.bucket).words(e.ref)[0])
}
