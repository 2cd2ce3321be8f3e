package join

import (
	"cmp"
	"math/bits"
	"slices"
	"testing"
	"time"
)

const (
	attackers = 4_000
	secret    = 0x5eed
)

// Whoever can foresee where in memory an event comes to lie, and knew how a node's rank is made of that, could choose times by which a tree becomes
// a list: quadratic, for one key. Here the attacker knows everything but the seed.
func TestTreesStayBalancedUnderChosenTimes(t *testing.T) {
	limit := 4 * bits.Len(attackers) // a random tree of so many nodes is some 25 deep; more than this is a matter of one in many millions
	for name, build := range map[string]func(times []int64) (depth int, refs []uint32){"clicks": clicksTree, "checkouts": checkoutsTree} {
		inOrder := make([]int64, attackers)
		for i := range inOrder {
			inOrder[i] = int64(i)
		}
		_, refs := build(inOrder)
		if depth, _ := build(byRank(secret, refs)); depth < attackers/2 {
			t.Errorf("%s: with the seed known the tree is %d deep: this is not the attack", name, depth)
		}
		for guess := range uint64(3) {
			if depth, _ := build(byRank(guess, refs)); depth > limit {
				t.Errorf("%s: the tree is %d deep, want %d at most", name, depth, limit)
			}
		}
	}
}

// byRank gives events times in the order of their ranks. Those of the first few, which are no tree yet, stay as they are.
func byRank(seed uint64, refs []uint32) []int64 {
	const few = maxChain + 1
	order := make([]int, attackers)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order[few:], func(a, b int) int { return cmp.Compare(rank(seed, refs[a]), rank(seed, refs[b])) })
	times := make([]int64, attackers)
	for i, event := range order {
		times[event] = int64(i)
	}
	return times
}

func clicksTree(times []int64) (depth int, refs []uint32) {
	w := NewWindow(WindowConfig{Stripes: 1, Seed: secret})
	events := map[ID]int{}
	for i, t := range times {
		events[benchID(i)] = i
		w.Insert(Key{1, 2}, benchStart/w.length*w.length+t, benchID(i))
	}
	s, key := w.stripeOf(Key{1, 2})
	e := s.index.find(key)
	b := s.bucket(e.bucket)
	refs = make([]uint32, attackers)
	depth = depthOf(b.words(e.ref)[3], func(ref uint32) (left, right uint32) {
		r := b.words(ref)
		refs[events[idOf(r)]] = ref
		return r[1], r[2]
	})
	return depth, refs
}

func checkoutsTree(times []int64) (depth int, refs []uint32) {
	r := NewRecents(secret)
	for i, t := range times {
		r.Add(Key{1, 2}, Recent{Time: t, Offset: int64(i), ID: benchID(i)})
	}
	refs = make([]uint32, attackers)
	depth = depthOf(r.keys.at(r.keys.find(Key{1, 2})).root, func(ref uint32) (left, right uint32) {
		n := r.nodes.at(ref)
		refs[n.offset] = ref
		return n.left, n.right
	})
	return depth, refs
}

func depthOf(root uint32, children func(ref uint32) (left, right uint32)) int {
	if root == 0 {
		return 0
	}
	left, right := children(root)
	return 1 + max(depthOf(left, children), depthOf(right, children))
}

// A click a minute of event time, newest first: whatever looks through the minutes for each click would need 10^11 steps.
func TestAReadOfVeryManyMinutes(t *testing.T) {
	const clicks = 1_000_000
	began := time.Now()
	c := NewCore(Config{}, NewWindow(WindowConfig{}))
	c.AddClicks(0, 0, NoTime, 0)
	var r ClicksRead
	r.Reset(0)
	for o := range int64(clicks) {
		r.Note((clicks-o/2)*indexBucket, o) // two of each
	}
	r.Next = clicks
	c.Clicks(&r, 0, nil)
	index := c.parts[0].index
	if len(index) != clicks/2 || index[0] != (TimeOffset{clicks/2 + 1, clicks - 2}) || index[1] != (TimeOffset{clicks/2 + 2, clicks - 4}) {
		t.Errorf("%d buckets, the first ones %v", len(index), index[:min(2, len(index))])
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
