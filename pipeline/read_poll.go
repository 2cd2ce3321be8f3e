package pipeline

import (
	"iter"
	"runtime"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// sideBySide is from how many records on the partitions of a poll are read side by side: those of live polls are few, and would cost less than
// the goroutines.
const sideBySide = 256

// How many records of a partition are read before what came of them is handed over: a batch may hold a hundred thousand. Checkouts are handed
// over in one piece unless it is such a batch, for the group cannot rebalance in between.
const (
	clicksAtOnce    = 16_384
	checkoutsAtOnce = 65_536
)

// pieces are the records of a poll, at most so many of a partition at once, in their order.
func pieces(fetches kgo.Fetches, most int) iter.Seq[kgo.Fetches] {
	return func(yield func(kgo.Fetches) bool) {
		longest := 0
		fetches.EachPartition(func(f kgo.FetchTopicPartition) { longest = max(longest, len(f.Records)) })
		if longest <= most {
			yield(fetches)
			return
		}
		for from := 0; from < longest; from += most {
			var piece kgo.Fetch
			fetches.EachPartition(func(f kgo.FetchTopicPartition) {
				if to := min(from+most, len(f.Records)); from < to {
					part := kgo.FetchPartition{Partition: f.Partition, Records: f.Records[from:to]}
					piece.Topics = append(piece.Topics, kgo.FetchTopic{Topic: f.Topic, Partitions: []kgo.FetchPartition{part}})
				}
			})
			if !yield(kgo.Fetches{piece}) {
				return
			}
		}
	}
}

// readPoll has each partition of a poll read by its reader, which is opened where the partition has none yet. It gives those that had something to
// read.
func readPoll[R any](fetches kgo.Fetches, readers map[int32]R, open func(p int32) R, read func(R, kgo.FetchTopicPartition)) (used []R) {
	many := fetches.NumRecords() >= sideBySide
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		r, ok := readers[f.Partition]
		if !ok {
			r = open(f.Partition)
			readers[f.Partition] = r
		}
		used = append(used, r)
		if !many {
			read(r, f)
			return
		}
		g.Go(func() error { read(r, f); return nil })
	})
	_ = g.Wait() // read returns no error
	return used
}
