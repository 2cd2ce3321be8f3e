package window

import (
	"testing"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

func TestTreesStayBalancedUnderChosenTimes(t *testing.T) {
	jointest.Balanced(t, maxChain+1, rank, func(times []int64) (depth int, refs []uint32) {
		w, one := newWindow(jointest.Secret, 1), event.Key{Hi: 1, Lo: 2}
		events := map[event.ID]int{}
		for i, t := range times {
			events[jointest.ID(i)] = i
			w.Insert(one, jointest.Start/bucketLength*bucketLength+t, jointest.ID(i))
		}
		s, key := w.stripeOf(one)
		e := s.index.find(key)
		b := s.bucket(e.bucket)
		refs = make([]uint32, len(times))
		depth = jointest.Depth(b.words(e.ref)[3], func(ref uint32) (left, right uint32) {
			r := b.words(ref)
			refs[events[idOf(r)]] = ref
			return r[1], r[2]
		})
		return depth, refs
	})
}
