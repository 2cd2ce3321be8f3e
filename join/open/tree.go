package open

import (
	"math"

	"firstclick/join/event"
)

// node is a checkout in its key's treap: by (time, offset), and a heap by rank of the refs (see rank). It is 80 bytes.
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

// worse says whether the answer of a is worse (greater) than that of b.
func (r *Checkouts) worse(a, b *node) bool {
	if a.clickTime != b.clickTime {
		return a.clickTime > b.clickTime
	}
	return a.clickTime != noClick && r.clickOf(a).Compare(r.clickOf(b)) > 0
}

// improves says whether (t, click) is a better answer for n.
func (r *Checkouts) improves(n *node, t int64, click *event.ID) bool {
	return t < n.clickTime || t == n.clickTime && t != noClick && click.Compare(r.clickOf(n)) < 0
}

func (r *Checkouts) clickOf(n *node) event.ID {
	return r.texts.view(n.click, n.flags&flagClickText != 0)
}

// sum finds the worst of a node's subtree.
func (r *Checkouts) sum(ref uint32, n *node) {
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

// plant puts a node into a tree.
func (r *Checkouts) plant(root *uint32, ref uint32) {
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
	r.sum(ref, n)
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
	r.sum(at, m)
	return left, right
}

// pull takes a node out of a tree, and returns what is left of the tree.
func (r *Checkouts) pull(at, ref uint32, n *node) uint32 {
	if at == ref {
		return r.merge(n.left, n.right)
	}
	m := r.nodes.at(at)
	if before(at, m, ref, n) {
		m.right = r.pull(m.right, ref, n)
	} else {
		m.left = r.pull(m.left, ref, n)
	}
	if m.worst == ref { // nothing else got better or worse
		r.sum(at, m)
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
		r.sum(a, m)
		return a
	}
	m := r.nodes.at(b)
	m.left = r.merge(a, m.left)
	r.sum(b, m)
	return b
}

// rank is a node's place in the heap of a treap. Whoever sends events can foresee refs, and could
// choose times that make the tree a list if they knew the seed.
func rank(seed uint64, ref uint32) uint64 { return event.Mix(seed ^ uint64(ref)) }
