package open

import (
	"math"

	"firstclick/join/event"
)

// mark says that better clicks have come for some checkouts of a key, in a span of their event
// time. A key has one mark, however many clicks come for it before its checkouts are looked up.
type mark struct {
	key      event.Key
	from, to int64
	offset   int64 // of the first checkout at from that is still to be looked up
	click    int64 // event time of the earliest of those clicks
}

// marks are spans to be looked up. Those that wait grow. Those of the sweep do not: so a sweep
// ends, however fast new ones come.
type marks struct {
	waiting, sweep         []mark
	waitingFrom, sweepFrom int64 // the least from, or less; MaxInt64: none
}

// manyMarks are not kept in memory once they are done with.
const manyMarks = 4096

func noMarks() marks { return marks{waitingFrom: math.MaxInt64, sweepFrom: math.MaxInt64} }

// Mark says that a click may be the first one of the open checkouts of key with from <= Time <= to.
// It marks nothing if each of them has a click that is as good.
func (r *Checkouts) Mark(key event.Key, t int64, click event.ID, from, to int64) {
	owner := r.keys.find(key)
	if owner == 0 {
		return
	}
	k := r.keys.at(owner)
	first := r.oldestWorse(k.root, &lateClick{t, click, from, to})
	if first == 0 {
		return
	}
	from = r.nodes.at(first).time
	m := &r.marks
	m.waitingFrom = min(m.waitingFrom, from)
	// Else the key's mark is of an earlier sweep, or of a key that had the entry before.
	if n := int(k.mark) - 1; n >= 0 && n < len(m.waiting) && m.waiting[n].key == key {
		at := &m.waiting[n]
		at.from, at.to, at.click = min(at.from, from), max(at.to, to), min(at.click, t)
		return
	}
	m.waiting = append(m.waiting, mark{key: key, from: from, to: to, offset: math.MinInt64, click: t})
	k.mark = uint32(len(m.waiting))
}

// lateClick is a click, and the span of checkouts that it may concern.
type lateClick struct {
	t        int64
	click    event.ID
	from, to int64
}

// oldestWorse finds the first checkout of a tree that has a worse click; 0: there is none.
func (r *Checkouts) oldestWorse(ref uint32, c *lateClick) uint32 {
	if ref == 0 {
		return 0
	}
	n := r.nodes.at(ref)
	if !r.isBetter(c.t, &c.click, r.nodes.at(n.worst)) {
		return 0
	}
	if n.time >= c.from {
		if found := r.oldestWorse(n.left, c); found != 0 {
			return found
		}
	}
	if c.from <= n.time && n.time <= c.to && r.isBetter(c.t, &c.click, n) {
		return ref
	}
	if n.time <= c.to {
		return r.oldestWorse(n.right, c)
	}
	return 0
}

// Marked is a time such that no checkout from before it is marked. MaxInt64: none is marked at all.
func (r *Checkouts) Marked() int64 { return min(r.marks.waitingFrom, r.marks.sweepFrom) }

// Waiting says whether there are marks that are not part of the sweep.
func (r *Checkouts) Waiting() bool { return len(r.marks.waiting) > 0 }

// Clicks is the window: see window.Window.First.
type Clicks interface {
	First(key event.Key, from, to int64) (t int64, click event.ID, ok bool)
}

// Improve looks up the clicks of marked checkouts, of at most so many, up to window before each. It
// appends to better the corrections of those that get a better one. done says that all have been
// looked up that were marked when the sweep began: with this call, unless the one before was not
// done.
func (r *Checkouts) Improve(
	better []event.Correction, most int, clicks Clicks, window int64,
) (_ []event.Correction, done bool) {
	m := &r.marks
	if len(m.sweep) == 0 {
		m.waiting, m.sweep = m.sweep, m.waiting
		m.waitingFrom, m.sweepFrom = math.MaxInt64, m.waitingFrom
	}
	s := sweep{left: most, clicks: clicks, window: window, better: better}
	for n := len(m.sweep) - 1; n >= 0; n-- {
		at := &m.sweep[n]
		if owner := r.keys.find(at.key); owner != 0 && !r.lookUpAll(r.keys.at(owner).root, at, &s) {
			return s.better, false
		}
		m.sweep = m.sweep[:n]
	}
	m.sweepFrom = math.MaxInt64
	if cap(m.sweep) > manyMarks {
		m.sweep = nil
	}
	return s.better, true
}

// sweep is a call of Improve.
type sweep struct {
	left   int // that may still be looked up
	clicks Clicks
	window int64
	better []event.Correction
}

// lookUpAll looks up the marked checkouts of a tree, oldest first. false: there are more than may
// be looked up, and the mark stands at the next one.
func (r *Checkouts) lookUpAll(ref uint32, m *mark, s *sweep) (done bool) {
	if ref == 0 {
		return true
	}
	n := r.nodes.at(ref)
	if r.nodes.at(n.worst).clickTime < m.click {
		return true
	}
	done = true
	if n.time > m.from || n.time == m.from && n.offset >= m.offset {
		done = r.lookUpAll(n.left, m, s)
		if done && n.time <= m.to && n.clickTime >= m.click {
			done = r.lookUp(n, m, s)
		}
	}
	if done && n.time <= m.to {
		done = r.lookUpAll(n.right, m, s)
	}
	r.update(ref, n)
	return done
}

func (r *Checkouts) lookUp(n *node, m *mark, s *sweep) (done bool) {
	if s.left == 0 {
		m.from, m.offset = n.time, n.offset
		return false
	}
	s.left--
	t, click, ok := s.clicks.First(m.key, n.time-s.window, n.time)
	if !ok || !r.isBetter(t, &click, n) {
		return true
	}
	r.dropClick(n)
	r.setClick(n, t, click)
	id := r.texts.load(n.id, n.flags&flagIDText != 0)
	s.better = append(s.better, event.Correction{
		Offset: n.offset, Key: m.key, Time: n.time, Checkout: id, Click: click, ClickTime: t,
	})
	return true
}
