package ingest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// Every record of a poll comes once, in the order of its partition, and no piece holds more of a
// partition than it may.
func TestPiecesAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 5).Draw(t, "lengths")
		most := rapid.IntRange(1, 12).Draw(t, "most")
		var fetch kgo.Fetch
		for p, n := range lengths {
			part := kgo.FetchPartition{Partition: int32(p)}
			for o := range n {
				part.Records = append(part.Records, &kgo.Record{Partition: int32(p), Offset: int64(o)})
			}
			fetch.Topics = append(fetch.Topics, kgo.FetchTopic{Topic: "clicks", Partitions: []kgo.FetchPartition{part}})
		}
		next := make([]int64, len(lengths))
		for piece := range pieces(kgo.Fetches{fetch}, most) {
			piece.EachPartition(func(f kgo.FetchTopicPartition) {
				if len(f.Records) > most {
					t.Fatalf("%d records of a partition", len(f.Records))
				}
				for _, r := range f.Records {
					if r.Offset != next[f.Partition] {
						t.Fatalf("offset %d of partition %d, want %d", r.Offset, f.Partition, next[f.Partition])
					}
					next[f.Partition]++
				}
			})
		}
		for p, n := range lengths {
			if next[p] != int64(n) {
				t.Fatalf("%d of %d records of partition %d", next[p], n, p)
			}
		}
	})
}
