package open

import (
	"math"
	"math/bits"
	"unsafe"

	"firstclick/join/event"
)

// Checkout is a checkout whose answer may still move. Times are micros.
type Checkout struct {
	Time, Offset int64
	ID           event.ID
	ClickTime    int64    // 0 unless HasClick
	Click        event.ID // the best click so far
	HasClick     bool
}

// Checkouts holds the recent checkouts of one shard. Not safe for concurrent use.
//
// The checkouts of a key are a treap by (Time, Offset) in which each node knows the worst answer below it (see
// tree.go): a click that improves nothing is turned away at the root, also where a key has a hundred thousand. One that
// improves something is only marked (see marks.go), until somebody wants to know which answers are better now. For expiry all checkouts stand in lists, a radix heap by Time: see Expire. Nodes and
// keys lie in chunks and name each other by number, so that nothing holds a pointer per checkout.
type Checkouts struct {
	nodes nodes
	keys  keys
	texts textStore

	seed  uint64 // of the ranks
	base  uint64 // the greatest Expire, ordered as unsigned
	marks marks
	lists [lists]timeList // by the highest bit in which a time differs from base; those below base are in the last
	n     int
	shown Checkout // what callbacks are given
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

// New returns an empty one. seed is a secret, as in [WindowConfig].
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

func (r *Checkouts) listOf(t int64) *timeList {
	m := ordered(t)
	if m < r.base {
		return &r.lists[belowBase]
	}
	return &r.lists[bits.Len64(m^r.base)]
}

func (r *Checkouts) push(ref uint32, n *node) {
	l := r.listOf(n.time)
	n.next, l.head = l.head, ref
	l.least = min(l.least, n.offset)
}

// Add adds a checkout, whatever is there already.
func (r *Checkouts) Add(key event.Key, k Checkout) {
	owner := r.keys.get(key)
	ref, n := r.nodes.take()
	*n = node{time: k.Time, offset: k.Offset, clickTime: noClick, worst: ref, owner: owner}
	n.id = r.texts.store(k.ID, &n.flags, flagIDText)
	if k.HasClick {
		n.clickTime = k.ClickTime
		n.click = r.texts.store(k.Click, &n.flags, flagClickText)
	}
	r.plant(&r.keys.at(owner).root, ref)
	r.push(ref, n)
	r.n++
}

// Expire drops exactly the checkouts with Time < before. Called often it stays cheap: a checkout is looked at when before comes
// so near to its time that one more of their upper bits agrees, at most 64 times in its life.
func (r *Checkouts) Expire(before int64) {
	to := ordered(before)
	if to <= r.base { // only what was added below an earlier before can be concerned
		r.sift(&r.lists[belowBase], before)
		return
	}
	// Times in a lower list than the one that `to` itself falls into have a 0 where it has the first 1 that base has not.
	level := bits.Len64(to ^ r.base)
	r.base = to
	r.sift(&r.lists[belowBase], before)
	for i := range level + 1 {
		r.sift(&r.lists[i], before)
	}
	if r.nodes.made > 4*sparse && r.nodes.made/4 > uint32(r.n) {
		r.compact()
	}
}

// sift drops what is before a time from a list, and puts the rest into the lists where it belongs now.
func (r *Checkouts) sift(l *timeList, before int64) {
	ref := l.head
	*l = timeList{least: math.MaxInt64}
	for ref != 0 {
		n := r.nodes.at(ref)
		next := n.next
		switch {
		case n.time < before:
			r.uproot(ref, n)
			r.nodes.give(ref)
		default:
			r.push(ref, n)
		}
		ref = next
	}
}

// uproot takes a node out of its key's tree, and the key out if it was the last.
func (r *Checkouts) uproot(ref uint32, n *node) {
	owner := r.keys.at(n.owner)
	owner.root = r.pull(owner.root, ref, n)
	if owner.root == 0 {
		r.keys.remove(n.owner)
	}
	r.texts.drop(n.id, n.flags&flagIDText != 0)
	r.texts.drop(n.click, n.flags&flagClickText != 0)
	r.n--
}

// sparse is the number of nodes from which on memory is given back once a quarter of them or less is in use.
const sparse = 1024

// compact writes everything anew. It is paid for by the three checkouts out of four that went since.
func (r *Checkouts) compact() {
	old := *r
	r.reset(old.base)
	old.Each(func(key event.Key, k *Checkout) bool {
		r.Add(key, *k)
		return true
	})
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
	return r.nodes.bytes() + r.keys.bytes() + r.texts.bytes() + int64(cap(r.marks.open)+cap(r.marks.sweep))*int64(unsafe.Sizeof(mark{}))
}

// Each calls fn with every checkout held, in no order that means anything, until fn returns false. fn must not change r nor
// keep the pointer.
func (r *Checkouts) Each(fn func(key event.Key, k *Checkout) bool) {
	for _, owner := range r.keys.table {
		if owner != 0 {
			k := r.keys.at(owner)
			if !r.each(k.root, k.key, fn) {
				return
			}
		}
	}
}

func (r *Checkouts) each(ref uint32, key event.Key, fn func(key event.Key, k *Checkout) bool) bool {
	if ref == 0 {
		return true
	}
	n := r.nodes.at(ref)
	if !r.each(n.left, key, fn) {
		return false
	}
	r.shown = r.recent(n)
	return fn(key, &r.shown) && r.each(n.right, key, fn)
}

// recent is a node as others see it.
func (r *Checkouts) recent(n *node) Checkout {
	k := Checkout{Time: n.time, Offset: n.offset, ID: r.texts.load(n.id, n.flags&flagIDText != 0)}
	if n.clickTime != noClick {
		k.ClickTime, k.HasClick = n.clickTime, true
		k.Click = r.texts.load(n.click, n.flags&flagClickText != 0)
	}
	return k
}

// SetClick sets the click of a checkout that is still open, also to a worse one or none.
func (r *Checkouts) SetClick(to *event.Refusal) {
	if owner := r.keys.find(to.Key); owner != 0 {
		r.setClick(r.keys.at(owner).root, to)
	}
}

func (r *Checkouts) setClick(ref uint32, to *event.Refusal) {
	if ref == 0 {
		return
	}
	n := r.nodes.at(ref)
	switch {
	case n.time == to.Time && n.offset == to.Offset:
		r.texts.drop(n.click, n.flags&flagClickText != 0)
		n.flags &^= flagClickText
		n.clickTime, n.click = noClick, packedID{}
		if to.HasClick {
			n.clickTime, n.click = to.Took.Time, r.texts.store(to.Took.ID, &n.flags, flagClickText)
		}
	case to.Time < n.time || to.Time == n.time && to.Offset < n.offset:
		r.setClick(n.left, to)
	default:
		r.setClick(n.right, to)
	}
	r.sum(ref, n)
}
