package open

import (
	"math"

	"firstclick/join/event"
)

// node is a checkout in its key's treap: a search tree by (time, offset), and a heap by rank of the
// refs. It is 80 bytes.
type node struct {
	time, offset int64
	id, click    packedID
	clickTime    int64 // noClick: none, and so worse than any
	left, right  uint32
	worst        uint32 // the node in this subtree, itself included, with the greatest (clickTime, click)
	owner        uint32 // its key
	next         uint32 // in its time list
	flags        uint32
}

const (
	noClick = math.MaxInt64

	flagIDText    = 1
	flagClickText = 2
)

// rank is a node's place in the heap of a treap. Whoever sends events can foresee refs, and could
// choose times that make the tree a list if they knew the seed.
func rank(seed uint64, ref uint32) uint64 { return event.Mix(seed ^ uint64(ref)) }

// isBetter says whether a click is better than that of n.
func (r *Checkouts) isBetter(t int64, click *event.ID, n *node) bool {
	return t < n.clickTime || t == n.clickTime && t != noClick && click.Compare(r.clickOf(n)) < 0
}

// clickOf is the id of n's click. It holds until the click is dropped.
func (r *Checkouts) clickOf(n *node) event.ID {
	return r.texts.view(n.click, n.flags&flagClickText != 0)
}

func (r *Checkouts) setClick(n *node, t int64, click event.ID) {
	n.clickTime, n.click = t, r.texts.store(click, &n.flags, flagClickText)
}

func (r *Checkouts) dropClick(n *node) {
	r.texts.drop(n.click, n.flags&flagClickText != 0)
	n.flags &^= flagClickText
	n.clickTime, n.click = noClick, packedID{}
}

// worse says whether the click of a is worse (greater) than that of b.
func (r *Checkouts) worse(a, b *node) bool {
	if a.clickTime != b.clickTime {
		return a.clickTime > b.clickTime
	}
	return a.clickTime != noClick && r.clickOf(a).Compare(r.clickOf(b)) > 0
}

// update finds the worst click of a node's subtree.
func (r *Checkouts) update(ref uint32, n *node) {
	n.worst = ref
	worst := n
	for _, child := range [2]uint32{n.left, n.right} {
		if child == 0 {
			continue
		}
		ref := r.nodes.at(child).worst
		if w := r.nodes.at(ref); r.worse(w, worst) {
			n.worst, worst = ref, w
		}
	}
}

// before orders nodes of a tree.
func before(a uint32, x *node, b uint32, y *node) bool {
	switch {
	case x.time != y.time:
		return x.time < y.time
	case x.offset != y.offset:
		return x.offset < y.offset
	}
	return a < b
}

// insert puts a node into a tree.
func (r *Checkouts) insert(root *uint32, ref uint32) {
	n, mine := r.nodes.at(ref), rank(r.seed, ref)
	at := root
	for *at != 0 && rank(r.seed, *at) >= mine {
		m := r.nodes.at(*at)
		if r.worse(n, r.nodes.at(m.worst)) {
			m.worst = ref
		}
		if before(*at, m, ref, n) {
			at = &m.right
		} else {
			at = &m.left
		}
	}
	n.left, n.right = r.split(*at, ref, n)
	*at = ref
	r.update(ref, n)
}

// split parts a tree into what is before a node and what is after.
func (r *Checkouts) split(at, ref uint32, n *node) (left, right uint32) {
	if at == 0 {
		return 0, 0
	}
	m := r.nodes.at(at)
	if before(at, m, ref, n) {
		m.right, right = r.split(m.right, ref, n)
		left = at
	} else {
		left, m.left = r.split(m.left, ref, n)
		right = at
	}
	r.update(at, m)
	return left, right
}

// remove takes a node out of a tree, and returns what is left of the tree.
func (r *Checkouts) remove(at, ref uint32, n *node) uint32 {
	if at == ref {
		return r.merge(n.left, n.right)
	}
	m := r.nodes.at(at)
	if before(at, m, ref, n) {
		m.right = r.remove(m.right, ref, n)
	} else {
		m.left = r.remove(m.left, ref, n)
	}
	if m.worst == ref {
		r.update(at, m)
	}
	return at
}

// merge joins two trees, all of a before all of b.
func (r *Checkouts) merge(a, b uint32) uint32 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	case rank(r.seed, a) >= rank(r.seed, b):
		m := r.nodes.at(a)
		m.right = r.merge(m.right, b)
		r.update(a, m)
		return a
	}
	m := r.nodes.at(b)
	m.left = r.merge(a, m.left)
	r.update(b, m)
	return b
}
