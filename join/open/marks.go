package open

import (
	"math"

	"firstclick/join/event"
)

// mark says that clicks have come that are better answers of some checkouts of a key, in a span of their event time. However many clicks come
// for a key before its checkouts are asked for, it has one mark: what waits is bounded by checkouts, not by clicks times checkouts.
type mark struct {
	key      event.Key
	from, to int64
	offset   int64 // of the first checkout at from that is still to be asked for
	click    int64 // event time of the earliest of those clicks
}

// marks are spans to be asked for. The open ones grow. Those of the sweep do not: so a sweep ends, however fast new ones come.
type marks struct {
	open, sweep         []mark
	openFrom, sweepFrom int64 // the least from, or less; MaxInt64: none
}

// manyMarks are not kept in memory once they are done with.
const manyMarks = 4096

func noMarks() marks { return marks{openFrom: math.MaxInt64, sweepFrom: math.MaxInt64} }

// Mark says that (t, click) may be the answer of the recent checkouts of key with from <= Time <= to. Nothing is noted where each of them has an
// answer that is as good.
func (r *Checkouts) Mark(key event.Key, t int64, click event.ID, from, to int64) {
	owner := r.keys.find(key)
	if owner == 0 {
		return
	}
	k := r.keys.at(owner)
	first := r.oldestWorse(k.root, &improvement{t, click, from, to})
	if first == 0 {
		return
	}
	from = r.nodes.at(first).time
	m := &r.marks
	m.openFrom = min(m.openFrom, from)
	if n := int(k.mark) - 1; n >= 0 && n < len(m.open) && m.open[n].key == key { // else it is of an earlier sweep, or of a key before this one
		at := &m.open[n]
		at.from, at.to, at.click = min(at.from, from), max(at.to, to), min(at.click, t)
		return
	}
	m.open = append(m.open, mark{key: key, from: from, to: to, offset: math.MinInt64, click: t})
	k.mark = uint32(len(m.open))
}

type improvement struct {
	t        int64
	click    event.ID
	from, to int64
}

// oldestWorse finds the first checkout of a tree that an improvement is for; 0: there is none.
func (r *Checkouts) oldestWorse(ref uint32, by *improvement) uint32 {
	if ref == 0 {
		return 0
	}
	n := r.nodes.at(ref)
	if !r.improves(r.nodes.at(n.worst), by.t, &by.click) {
		return 0
	}
	if n.time >= by.from {
		if found := r.oldestWorse(n.left, by); found != 0 {
			return found
		}
	}
	if by.from <= n.time && n.time <= by.to && r.improves(n, by.t, &by.click) {
		return ref
	}
	if n.time <= by.to {
		return r.oldestWorse(n.right, by)
	}
	return 0
}

// Marked is a time such that no checkout from before it is marked. MaxInt64: none is marked at all.
func (r *Checkouts) Marked() int64 { return min(r.marks.openFrom, r.marks.sweepFrom) }

// Waiting says whether there are marks that are not part of the sweep.
func (r *Checkouts) Waiting() bool { return len(r.marks.open) > 0 }

// Improve asks for the answers of marked checkouts, of at most so many, and calls fn with each of them that has got a better one. done says that
// all have been asked for that were marked when the sweep began: with this call, unless the one before was not done. Neither ask nor fn may call
// back into r, nor keep the pointer.
func (r *Checkouts) Improve(most int, ask func(key event.Key, at int64) (t int64, click event.ID, ok bool), fn func(event.Key, *Checkout)) (done bool) {
	m := &r.marks
	if len(m.sweep) == 0 {
		m.open, m.sweep = m.sweep, m.open
		m.openFrom, m.sweepFrom = math.MaxInt64, m.openFrom
	}
	w := asking{most, ask, fn}
	for n := len(m.sweep) - 1; n >= 0; n-- {
		at := &m.sweep[n]
		if owner := r.keys.find(at.key); owner != 0 && !r.askAll(r.keys.at(owner).root, at, &w) {
			return false
		}
		m.sweep = m.sweep[:n]
	}
	m.sweepFrom = math.MaxInt64
	if cap(m.sweep) > manyMarks {
		m.sweep = nil
	}
	return true
}

type asking struct {
	left int
	ask  func(key event.Key, at int64) (t int64, click event.ID, ok bool)
	fn   func(event.Key, *Checkout)
}

// askAll asks for the marked checkouts of a tree, oldest first. false: there are more than may be asked for, and the mark stands at the next one.
func (r *Checkouts) askAll(ref uint32, m *mark, w *asking) (done bool) {
	if ref == 0 {
		return true
	}
	n := r.nodes.at(ref)
	if r.nodes.at(n.worst).clickTime < m.click {
		return true
	}
	done = true
	if n.time > m.from || n.time == m.from && n.offset >= m.offset {
		done = r.askAll(n.left, m, w)
		if done && n.time <= m.to && n.clickTime >= m.click {
			done = r.askOne(n, m, w)
		}
	}
	if done && n.time <= m.to {
		done = r.askAll(n.right, m, w)
	}
	r.sum(ref, n)
	return done
}

func (r *Checkouts) askOne(n *node, m *mark, w *asking) (done bool) {
	if w.left == 0 {
		m.from, m.offset = n.time, n.offset
		return false
	}
	w.left--
	t, click, ok := w.ask(m.key, n.time)
	if !ok || !r.improves(n, t, &click) {
		return true
	}
	r.texts.drop(n.click, n.flags&flagClickText != 0)
	n.flags &^= flagClickText
	n.clickTime, n.click = t, r.texts.store(click, &n.flags, flagClickText)
	r.shown = r.recent(n)
	w.fn(m.key, &r.shown)
	return true
}
