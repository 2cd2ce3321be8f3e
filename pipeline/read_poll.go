package pipeline

import (
	"runtime"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// sideBySide is from how many records on the partitions of a poll are read side by side: those of live polls are few, and would cost less than
// the goroutines.
const sideBySide = 256

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
