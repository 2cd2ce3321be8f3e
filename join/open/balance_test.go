package open

import (
	"testing"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

func TestTreesStayBalancedUnderChosenTimes(t *testing.T) {
	jointest.Balanced(t, 0, rank, func(times []int64) (depth int, refs []uint32) {
		r, one := New(jointest.Secret), event.Key{Hi: 1, Lo: 2}
		for i, t := range times {
			r.Add(one, Checkout{Time: t, Offset: int64(i), ID: jointest.ID(i)})
		}
		refs = make([]uint32, len(times))
		depth = jointest.Depth(r.keys.at(r.keys.find(one)).root, func(ref uint32) (left, right uint32) {
			n := r.nodes.at(ref)
			refs[n.offset] = ref
			return n.left, n.right
		})
		return depth, refs
	})
}
