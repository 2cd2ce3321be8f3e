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
	silence = 10 * time.Second // after which Kafka is taken to have no more
	nearby  = 1000             // offsets that are read over rather than asked for anew
)

// source reads records again whose payloads were not kept.
type source struct {
	kafka  kafkaconn.Config
	client *kgo.Client // nil: not needed yet
}

func (s *source) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// read fills in the payloads that are still in Kafka, by the letters' ids, of letters that have a
// place in payloads. One counts only if it has the letter's size and hash: the topic may be another
// one of the same name by now. Where those are not known (the checkout of a refused click) any
// record counts: to send one again changes nothing.
func (s *source) read(ctx context.Context, letters []pending, payloads map[int64][]byte) error {
	wanted := slices.DeleteFunc(slices.Clone(letters), func(p pending) bool {
		_, there := payloads[p.id]
		return !there || !p.again()
	})
	if len(wanted) == 0 {
		return nil
	}
	if s.client == nil {
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
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	for len(wanted) > 0 {
		n := 1
		for n < len(wanted) && wanted[n].topic == wanted[0].topic && wanted[n].partition == wanted[0].partition && wanted[n].offset-wanted[n-1].offset < nearby {
			n++
		}
		if err := s.stretch(ctx, wanted[:n], payloads); err != nil {
			return err
		}
		wanted = wanted[n:]
	}
	return nil
}

// stretch reads one partition from the first of some letters, which are in order, to the last.
func (s *source) stretch(ctx context.Context, wanted []pending, payloads map[int64][]byte) error {
	first, last := wanted[0], wanted[len(wanted)-1].offset
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{first.topic: {first.partition: kgo.NewOffset().At(first.offset)}})
	defer s.client.RemoveConsumePartitions(map[string][]int32{first.topic: {first.partition}})
	for next := first.offset; next <= last; {
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
			return fmt.Errorf("read %s[%d] again from offset %d: %w", first.topic, first.partition, next, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			for len(wanted) > 0 && wanted[0].offset < r.Offset {
				wanted = wanted[1:] // Kafka has it no more
			}
			if len(wanted) == 0 || wanted[0].offset != r.Offset {
				return
			}
			if sum := sha256.Sum256(r.Value); wanted[0].sum == nil || int64(len(r.Value)) == wanted[0].size && bytes.Equal(sum[:], wanted[0].sum) {
				payloads[wanted[0].id] = r.Value
			}
			wanted = wanted[1:]
		})
	}
	return nil
}
