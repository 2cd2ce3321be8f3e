package window

import "firstclick/join/event"

// A group is the clicks of one key in one bucket. Its head is its newest click, or a tree's header.
// Nothing is ever taken out of a group.
//
// Up to maxChain clicks are a chain in descending order of (time, id): clicks that come in order
// cost one record and one link. More become a treap: a search tree by (time, id) that is a heap by
// a secret hash of the nodes' refs. It is as balanced as a random tree, whatever times the clicks
// have and in whatever order they come.
const maxChain = 8

// link is where the number and the ref of a group stand. number is nil where only the ref does.
type link struct{ number, ref *uint32 }

func (l link) set(number, ref uint32) {
	if l.number != nil {
		*l.number = number
	}
	*l.ref = ref
}

// next is the next older click of a chain, in the same bucket; 0 at its end.
func (b *bucket) next(r []uint32) uint32 {
	switch r[0] >> kindShift {
	case recordNear:
		return r[1]
	case recordFar:
		if r[1] == b.number {
			return r[2]
		}
	}
	return 0
}

// bottom is the record that holds the link to the next older group: a tree's header, or the last of
// a chain. holder is the link to it and steps the number of records looked at.
func (b *bucket) bottom(head link) (r []uint32, holder link, steps int) {
	holder = head
	for {
		r = b.words(*holder.ref)
		steps++
		if r[0]>>kindShift == recordTree || b.next(r) == 0 {
			return r, holder, steps
		}
		holder = below(r)
	}
}

// below is the link in a record of a chain.
func below(r []uint32) link {
	if r[0]>>kindShift == recordNear {
		return link{ref: &r[1]}
	}
	return link{&r[1], &r[2]}
}

// insertGroup adds a click to a group. false: it is there already.
func (s *stripe) insertGroup(b *bucket, head link, off uint32, id *event.ID) bool {
	r := b.words(*head.ref)
	if r[0]>>kindShift == recordTree {
		return s.insertTree(b, r, off, id)
	}
	var holders [maxChain]link
	place, n := -1, 0
	for holder := head; ; {
		holders[n] = holder
		if place < 0 {
			switch c := compare(r, off, id); {
			case c == 0:
				return false
			case c < 0:
				place = n
			}
		}
		n++
		if b.next(r) == 0 {
			break
		}
		holder = below(r)
		r = b.words(*holder.ref)
	}
	switch {
	case n == maxChain:
		s.plant(b, head)
		return s.insertTree(b, b.words(*head.ref), off, id)
	case place >= 0:
		ref, fresh := s.write(b, recordNear, off, *id)
		fresh[1] = *holders[place].ref
		holders[place].set(b.number, ref)
	case r[0]>>kindShift == recordFar: // the oldest takes over the link to the next older group
		ref, fresh := s.write(b, recordFar, off, *id)
		fresh[1], fresh[2] = r[1], r[2]
		r[1], r[2] = b.number, ref
	default: // the last has no room for a link: write it again
		ref, _ := s.write(b, recordEnd, off, *id)
		again, r := s.write(b, recordNear, r[0]&timeMask, idOf(r))
		r[1] = ref
		holders[n-1].set(b.number, again)
	}
	b.clicks++
	return true
}

// setOlder links a group to the next older group of its key.
func (s *stripe) setOlder(b *bucket, head link, number, ref uint32) {
	r, holder, _ := b.bottom(head)
	if r[0]>>kindShift == recordEnd {
		again, fresh := s.write(b, recordFar, r[0]&timeMask, idOf(r))
		holder.set(b.number, again)
		r = fresh
	}
	r[1], r[2] = number, ref
}

// plant makes a tree of a chain.
func (s *stripe) plant(b *bucket, head link) {
	ref, tree := s.grab(b, treeWords)
	tree[0], tree[1], tree[2], tree[3] = recordTree<<kindShift, 0, 0, 0
	r := b.words(*head.ref)
	for {
		s.insertNode(b, &tree[3], r[0]&timeMask, idOf(r))
		next := b.next(r)
		if next == 0 {
			break
		}
		r = b.words(next)
	}
	if r[0]>>kindShift == recordFar {
		tree[1], tree[2] = r[1], r[2]
	}
	head.set(b.number, ref)
}

func (s *stripe) insertTree(b *bucket, tree []uint32, off uint32, id *event.ID) bool {
	for ref := tree[3]; ref != 0; {
		r := b.words(ref)
		switch c := compare(r, off, id); {
		case c == 0:
			return false
		case c < 0:
			ref = r[2]
		default:
			ref = r[1]
		}
	}
	s.insertNode(b, &tree[3], off, *id)
	b.clicks++
	return true
}

// rank is a node's place in the heap of a treap. Whoever sends events can foresee refs, and could
// choose times that make the tree a list if they knew the seed.
func rank(seed uint64, ref uint32) uint64 { return event.Mix(seed ^ uint64(ref)) }

// insertNode adds a click that is not in the tree.
func (s *stripe) insertNode(b *bucket, root *uint32, off uint32, id event.ID) {
	ref, node := s.write(b, recordFar, off, id)
	seed := s.window.seed
	mine, at := rank(seed, ref), root
	for *at != 0 && rank(seed, *at) >= mine {
		r := b.words(*at)
		if compare(r, off, &id) < 0 {
			at = &r[2]
		} else {
			at = &r[1]
		}
	}
	// What is below is split into the node's left and right.
	rest, left, right := *at, &node[1], &node[2]
	*at = ref
	for rest != 0 {
		r := b.words(rest)
		if compare(r, off, &id) < 0 {
			*left, left, rest = rest, &r[2], r[2]
		} else {
			*right, right, rest = rest, &r[1], r[1]
		}
	}
	*left, *right = 0, 0
}

// least finds the least click of a group at or after off, or after (off, after) if that is given.
// 0: there is none.
func (b *bucket) least(ref, off uint32, after *event.ID) (found uint32) {
	r := b.words(ref)
	if r[0]>>kindShift != recordTree {
		for ref != 0 {
			if r = b.words(ref); !reaches(r, off, after) {
				break
			}
			found, ref = ref, b.next(r)
		}
		return found
	}
	for ref = r[3]; ref != 0; {
		if r = b.words(ref); reaches(r, off, after) {
			found, ref = ref, r[1]
		} else {
			ref = r[2]
		}
	}
	return found
}

func reaches(r []uint32, off uint32, after *event.ID) bool {
	if after == nil {
		return r[0]&timeMask >= off
	}
	return compare(r, off, after) > 0
}
