package jointest

import (
	"cmp"
	"math/bits"
	"slices"
	"testing"
)

// Secret is the seed of the trees that Balanced attacks.
const Secret = 0x5eed

const attackers = 4_000

// Balanced attacks a treap. An attacker who can foresee where in memory an event comes to lie, and
// knows how a node's rank is made of that, can choose times by which the tree becomes a list. Here
// the attacker knows everything but the seed.
//
// build makes a tree, seeded with Secret, of events with these times. It returns the tree's depth
// and each event's place in memory. The first few events are not a tree yet.
func Balanced(
	t *testing.T, few int, rank func(seed uint64, ref uint32) uint64,
	build func(times []int64) (depth int, refs []uint32),
) {
	t.Helper()
	inOrder := make([]int64, attackers)
	for i := range inOrder {
		inOrder[i] = int64(i)
	}
	_, refs := build(inOrder)
	byRank := func(seed uint64) []int64 {
		order := make([]int, attackers)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order[few:], func(a, b int) int {
			return cmp.Compare(rank(seed, refs[a]), rank(seed, refs[b]))
		})
		times := make([]int64, attackers)
		for i, event := range order {
			times[event] = int64(i)
		}
		return times
	}
	if depth, _ := build(byRank(Secret)); depth < attackers/2 {
		t.Errorf("with the seed known the tree is %d deep: this is not the attack", depth)
	}
	// A random tree of so many nodes is some 25 deep. One in many millions is deeper than the
	// limit.
	limit := 4 * bits.Len(attackers)
	for guess := range uint64(3) {
		if depth, _ := build(byRank(guess)); depth > limit {
			t.Errorf("the tree is %d deep, want %d at most", depth, limit)
		}
	}
}

// Depth is the depth of a tree.
func Depth(root uint32, children func(ref uint32) (left, right uint32)) int {
	if root == 0 {
		return 0
	}
	left, right := children(root)
	return 1 + max(Depth(left, children), Depth(right, children))
}
