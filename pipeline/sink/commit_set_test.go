package sink

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Rows come in the order of their locks, however many and however alike their ids are.
func TestOrderOfRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SampledFrom([]string{"any", "few", "short"}).Draw(t, "ids")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		n := rapid.SampledFrom([]int{0, 1, 2, 255, 256, 768}).Draw(t, "rows")
		batches := []*Batch{{Claim: &Claim{Partition: 2}}, {Claim: &Claim{Partition: 0}}}
		for i := range n {
			id := fmt.Sprintf("%08x-%x", random.Uint32(), random.Uint32())
			switch {
			case ids == "short":
				id = []string{"a", "b", "\x01", "ab", "a\x01", "aaaaaaaa", "aaaaaaaa\x01", "aaaaaaa",
					"aaaaaaaab"}[random.IntN(9)]
			case ids == "few":
				id = fmt.Sprintf("the same %d", random.IntN(20))
			case random.IntN(4) == 0:
				id = id[:1+random.IntN(len(id)-1)]
			}
			b := batches[random.IntN(2)]
			b.Rows = append(b.Rows, row(int64(i), checkout(id)))
			b.Rows[len(b.Rows)-1].User = int32(random.IntN(50))
		}
		w, err := newCommitSet(batches)
		if err != nil {
			t.Fatal(err)
		}
		type place struct {
			id     string
			batch  int32
			offset int64
		}
		var got, want []place
		repeats := false
		users := map[int32]bool{}
		for i, e := range w.rows {
			if int(e.at) != i {
				t.Fatalf("row %d is at %d", i, e.at)
			}
			got = append(got, place{string(e.IDText()), int32(slices.Index(w.batches, e.batch)), e.Offset})
		}
		seen := map[string]bool{}
		for i, b := range w.batches {
			for j := range b.Rows {
				id := string(b.Rows[j].IDText())
				want = append(want, place{id, int32(i), b.Rows[j].Offset})
				repeats = repeats || seen[id]
				seen[id], users[b.Rows[j].User] = true, true
			}
		}
		slices.SortFunc(want, func(a, b place) int {
			return cmp.Or(bytes.Compare([]byte(a.id), []byte(b.id)), cmp.Compare(a.batch, b.batch),
				cmp.Compare(a.offset, b.offset))
		})
		if !slices.Equal(got, want) || w.repeats != repeats {
			t.Fatalf("order %v, repeats %v; want %v, %v", got, w.repeats, want, repeats)
		}
		if len(w.users) != len(users) || !slices.IsSorted(w.users) {
			t.Fatalf("users %v, want those of %v", w.users, users)
		}
	})
}

func BenchmarkOrder(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	batches := []*Batch{{Claim: &Claim{}}, {Claim: &Claim{Partition: 1}}}
	for i := range enoughToSort {
		k := checkout(fmt.Sprintf("%08x-%04x-4%03x", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12)))
		batches[i%2].Rows = append(batches[i%2].Rows, row(int64(i), k))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newCommitSet(batches); err != nil {
			b.Fatal(err)
		}
	}
}

const enoughToSort = 8192 // a large transaction's rows
