//go:build attack

package attack

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A device dates its clicks such that the window's tree of its key would become a list, if the
// heap's order were the hash that it once was: of where a click lies in memory, without a secret.
func TestChosenTimes(t *testing.T) {
	const clicks = 40_000
	s := begin(t, props{})
	took := func(user int, order []int) time.Duration {
		t.Helper()
		const bucket = 1 << 28 // microseconds: the window's memory is divided by it
		from := time.Now().Add(-time.Minute).UnixMicro()
		if from/bucket != (from+clicks)/bucket {
			from -= clicks
		}
		before := s.cpu()
		events := make([]event, clicks)
		for i, at := range order {
			events[i] = event{
				"click_id": fmt.Sprintf("%08x-0000-4000-8000-%012x", user, i), "user_id": user, "product_id": "hot",
				"datetime_occured": stamp(time.UnixMicro(from + int64(at))),
			}
		}
		s.produce("clicks", events...)
		id := fmt.Sprintf("hot-%d", user)
		s.produce("checkouts", event{"checkout_id": id, "user_id": user, "product_id": "hot", "total_amount": 1,
			"datetime_occured": stamp(time.Now())})
		s.await("the row of the hot key", func() bool {
			return s.count(`SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id = $1`, id) == 1
		})
		return s.cpu() - before
	}
	usual := took(1, rand.Perm(clicks))
	chosen := took(2, byOldRank(clicks))
	t.Logf("processor time for %d clicks of a key: %v with times by chance, %v with chosen ones", clicks, usual, chosen)
	if chosen > 3*usual+time.Second {
		t.Errorf("chosen times cost %v, others %v", chosen, usual)
	}
	s.end()
}

// byOldRank gives each of n clicks its place in time such that those in the tree lie in the order
// of their ranks, as they were without a seed.
func byOldRank(n int) []int {
	const few = 8 // clicks are a chain, before they become a tree
	refs := make([]uint32, n)
	ref := uint32(1)
	record := func(words uint32) (at uint32) {
		at = fits(ref, words)
		ref = at + words
		return at
	}
	record(5) // the oldest of the chain
	for range few - 1 {
		record(6)
	}
	record(4) // the tree
	for range few {
		record(7)
	}
	for i := few; i < n; i++ {
		refs[i] = record(7)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order[few:], func(a, b int) int { return cmp.Compare(oldRank(refs[a]), oldRank(refs[b])) })
	at := make([]int, n)
	for place, click := range order {
		at[click] = place
	}
	return at
}

// fits is where the next record of so many words begins: none lies across the end of a chunk, which
// are 16 words, then as many as all before, up to 4096.
func fits(ref, words uint32) uint32 {
	const least, chunk = 16, 4096
	end := (ref/chunk + 1) * chunk
	if ref < chunk {
		for end = least; end <= ref; end *= 2 {
		}
	}
	if ref+words > end {
		return end
	}
	return ref
}

func oldRank(ref uint32) uint32 {
	ref ^= ref >> 16
	ref *= 0x7feb352d
	ref ^= ref >> 15
	ref *= 0x846ca68b
	return ref ^ ref>>16
}
