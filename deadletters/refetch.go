package deadletters

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

const (
	silence = 10 * time.Second // after it Kafka is taken to have no more records
	nearby  = 1000             // offsets of a gap that is read over instead of fetched past
)

// refetcher reads records whose payloads were not kept from Kafka again.
type refetcher struct {
	kafka  kafkaconn.Config
	client *kgo.Client // nil: not needed yet
}

func (s *refetcher) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// read sets the payloads that are still in Kafka, of letters whose ids are keys of payloads. A
// record must have the letter's size and hash, because the topic may be another one of the same
// name by now. For the checkout of a refused click these are not known: any record counts, and
// sending one again changes nothing.
func (s *refetcher) read(ctx context.Context, letters []pending, payloads map[int64][]byte) (err error) {
	wanted := slices.DeleteFunc(slices.Clone(letters), func(p pending) bool {
		_, there := payloads[p.id]
		return !there || !p.fromKafka()
	})
	if len(wanted) > 0 && s.client == nil {
		opts, err := s.kafka.Opts()
		if err != nil {
			return err
		}
		s.client, err = kgo.NewClient(append(opts, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxBytes(4<<20), kgo.FetchMaxPartitionBytes(2<<20))...)
		if err != nil {
			return fmt.Errorf("make a Kafka client: %w", err)
		}
	}
	slices.SortFunc(wanted, func(a, b pending) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition),
			cmp.Compare(a.offset, b.offset))
	})
	for len(wanted) > 0 {
		n := 1
		for n < len(wanted) && wanted[n].topic == wanted[0].topic && wanted[n].partition == wanted[0].partition &&
			wanted[n].offset-wanted[n-1].offset < nearby {
			n++
		}
		if err := s.readRange(ctx, wanted[:n], payloads); err != nil {
			return err
		}
		wanted = wanted[n:]
	}
	return nil
}

// readRange reads one partition from the first to the last of some letters, which are in order.
func (s *refetcher) readRange(ctx context.Context, wanted []pending, payloads map[int64][]byte) error {
	topic, partition, next, last := wanted[0].topic, wanted[0].partition, wanted[0].offset, wanted[len(wanted)-1].offset
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(next)}})
	defer s.client.RemoveConsumePartitions(map[string][]int32{topic: {partition}})
	for next <= last {
		waiting, done := context.WithTimeout(ctx, silence)
		fetches := s.client.PollFetches(waiting)
		silent := waiting.Err() != nil
		done()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case silent:
			return nil
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s[%d] again from offset %d: %w", topic, partition, next, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			for len(wanted) > 0 && wanted[0].offset < r.Offset {
				wanted = wanted[1:] // no longer in Kafka
			}
			if len(wanted) == 0 || wanted[0].offset != r.Offset {
				return
			}
			p, sum := wanted[0], sha256.Sum256(r.Value)
			if p.sum == nil || int64(len(r.Value)) == p.size && bytes.Equal(sum[:], p.sum) {
				payloads[p.id] = r.Value
			}
			wanted = wanted[1:]
		})
	}
	return nil
}
