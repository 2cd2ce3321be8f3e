package ingest

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A partition that a poll brings twice, as records and as a batch that cannot be read, is read
// once, in order. Two readings would lose what the first one brought.
func TestAPartitionThatComesTwiceIsReadOnce(t *testing.T) {
	for _, n := range []int{1, concurrentFrom} {
		records := func(from int) (list []*kgo.Record) {
			for i := range n {
				list = append(list, &kgo.Record{Offset: int64(from + i)})
			}
			return list
		}
		fetches := kgo.Fetches{fetchOf("t", 0, records(0)), fetchOf("t", 1, nil), fetchOf("t", 0, records(n))}
		type reader struct{ offsets []int64 }
		opened := 0
		used := readPoll(fetches, map[int32]*reader{}, func(int32) *reader { opened++; return &reader{} },
			func(r *reader, f kgo.FetchTopicPartition) {
				r.offsets = nil // as a reader keeps what its last call brought
				for _, rec := range f.Records {
					r.offsets = append(r.offsets, rec.Offset)
				}
			})
		if len(used) != 1 || opened != 1 || len(used[0].offsets) != 2*n || !slices.IsSorted(used[0].offsets) {
			t.Errorf("%d records twice: %d readers, the first has %d records", n, len(used), len(used[0].offsets))
		}
	}
}
