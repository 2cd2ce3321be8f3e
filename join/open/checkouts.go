package open

import (
	"math"
	"math/bits"
	"unsafe"

	"firstclick/join/event"
)

// Checkout is an open checkout. Times are micros.
type Checkout struct {
	Time, Offset int64
	ID           event.ID
	ClickTime    int64    // 0 unless HasClick
	Click        event.ID // the first click so far
	HasClick     bool
}

// Checkouts holds the open checkouts of one shard. Not safe for concurrent use.
//
// The checkouts of a key are a treap by (Time, Offset), in which each node knows the worst click
// below it (see tree.go). For expiry all checkouts also stand in lists, a radix heap by Time (see
// Expire). Nodes and keys lie in chunks and name each other by number.
type Checkouts struct {
	nodes nodes
	keys  keys
	texts textStore
	marks marks

	seed  uint64          // of the ranks
	base  uint64          // the greatest Expire, ordered as unsigned
	lists [lists]timeList // by the highest bit in which a time differs from base; the last: below base
	n     int
}

const (
	lists     = 66
	belowBase = lists - 1
)

// timeList is a list of nodes, with the least offset in it.
type timeList struct {
	head  uint32
	least int64 // MaxInt64: no node
}

// New returns an empty one. seed is a secret, as that of window.New.
func New(seed uint64) *Checkouts {
	r := &Checkouts{seed: seed, marks: noMarks()}
	r.reset(0)
	return r
}

func (r *Checkouts) reset(base uint64) {
	*r = Checkouts{seed: r.seed, base: base, marks: r.marks}
	for i := range r.lists {
		r.lists[i].least = math.MaxInt64
	}
}

// ordered maps a time to an unsigned number of the same order.
func ordered(t int64) uint64 { return uint64(t) ^ 1<<63 }

// push puts a node into the list of its time.
func (r *Checkouts) push(ref uint32, n *node) {
	l := &r.lists[belowBase]
	if m := ordered(n.time); m >= r.base {
		l = &r.lists[bits.Len64(m^r.base)]
	}
	n.next, l.head = l.head, ref
	l.least = min(l.least, n.offset)
}

// Add adds a checkout, whatever is there already.
func (r *Checkouts) Add(key event.Key, k Checkout) {
	owner := r.keys.get(key)
	ref, n := r.nodes.get()
	*n = node{time: k.Time, offset: k.Offset, clickTime: noClick, worst: ref, owner: owner}
	n.id = r.texts.store(k.ID, &n.flags, flagIDText)
	if k.HasClick {
		r.setClick(n, k.ClickTime, k.Click)
	}
	r.insert(&r.keys.at(owner).root, ref)
	r.push(ref, n)
	r.n++
}

// Expire drops exactly the checkouts with Time < before. It may be called often: a checkout is
// looked at when one more upper bit of before agrees with its time, at most 64 times in its life.
func (r *Checkouts) Expire(before int64) {
	to, level := ordered(before), -1
	if to > r.base { // else only what was added below an earlier before is concerned
		// Times in a list up to this level are before `to`, or belong into a lower list now.
		level = bits.Len64(to ^ r.base)
		r.base = to
	}
	r.sort(&r.lists[belowBase], before)
	for i := range level + 1 {
		r.sort(&r.lists[i], before)
	}
	if r.nodes.made > 4*sparse && r.nodes.made/4 > uint32(r.n) {
		r.compact()
	}
}

// sort drops what is before a time from a list, and puts the rest into the lists where it belongs
// now.
func (r *Checkouts) sort(l *timeList, before int64) {
	ref := l.head
	*l = timeList{least: math.MaxInt64}
	for ref != 0 {
		n := r.nodes.at(ref)
		next := n.next
		if n.time < before {
			r.drop(ref, n)
		} else {
			r.push(ref, n)
		}
		ref = next
	}
}

// drop drops a checkout, and its key if it was the last one.
func (r *Checkouts) drop(ref uint32, n *node) {
	owner := r.keys.at(n.owner)
	owner.root = r.remove(owner.root, ref, n)
	if owner.root == 0 {
		r.keys.remove(n.owner)
	}
	r.texts.drop(n.id, n.flags&flagIDText != 0)
	r.texts.drop(n.click, n.flags&flagClickText != 0)
	r.nodes.put(ref)
	r.n--
}

// sparse is the number of nodes from which on memory is given back once a quarter of them or less
// is in use.
const sparse = 1024

// compact writes everything anew. The three checkouts out of four that were dropped since pay for
// it.
func (r *Checkouts) compact() {
	old := *r
	r.reset(old.base)
	for key, k := range old.all() {
		r.Add(key, k)
	}
}

// all are the checkouts held, in no order that means anything.
func (r *Checkouts) all() func(yield func(event.Key, Checkout) bool) {
	return func(yield func(event.Key, Checkout) bool) {
		for _, owner := range r.keys.table {
			if owner == 0 {
				continue
			}
			k := r.keys.at(owner)
			for refs := []uint32{k.root}; len(refs) > 0; {
				n := r.nodes.at(refs[len(refs)-1])
				refs = refs[:len(refs)-1]
				if !yield(k.key, r.checkout(n)) {
					return
				}
				for _, child := range [2]uint32{n.left, n.right} {
					if child != 0 {
						refs = append(refs, child)
					}
				}
			}
		}
	}
}

// checkout is a node as others see it.
func (r *Checkouts) checkout(n *node) Checkout {
	k := Checkout{Time: n.time, Offset: n.offset, ID: r.texts.load(n.id, n.flags&flagIDText != 0)}
	if n.clickTime != noClick {
		k.ClickTime, k.Click, k.HasClick = n.clickTime, r.clickOf(n).Clone(), true
	}
	return k
}

// OldestOffset is the least Offset among the checkouts held; false when there is none.
func (r *Checkouts) OldestOffset() (least int64, ok bool) {
	if r.n == 0 {
		return 0, false
	}
	least = math.MaxInt64
	for i := range r.lists {
		least = min(least, r.lists[i].least)
	}
	return least, true
}

// Len is the number of checkouts held.
func (r *Checkouts) Len() int { return r.n }

// Bytes is what is allocated for them.
func (r *Checkouts) Bytes() int64 {
	marks := int64(cap(r.marks.waiting)+cap(r.marks.sweep)) * int64(unsafe.Sizeof(mark{}))
	return r.nodes.bytes() + r.keys.bytes() + r.texts.bytes() + marks
}

// SetClick sets the click of a checkout that is still open, also to a worse one or none.
func (r *Checkouts) SetClick(to *event.Refusal) {
	if owner := r.keys.find(to.Key); owner != 0 {
		r.setClickBelow(r.keys.at(owner).root, to)
	}
}

func (r *Checkouts) setClickBelow(ref uint32, to *event.Refusal) {
	if ref == 0 {
		return
	}
	n := r.nodes.at(ref)
	switch {
	case n.time == to.Time && n.offset == to.Offset:
		r.dropClick(n)
		if to.HasClick {
			r.setClick(n, to.Took.Time, to.Took.ID)
		}
	case to.Time < n.time || to.Time == n.time && to.Offset < n.offset:
		r.setClickBelow(n.left, to)
	default:
		r.setClickBelow(n.right, to)
	}
	r.update(ref, n)
}
