package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"runtime"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"firstclick/internal/kafkabatch"
	"firstclick/pipeline/ending"
)

// nextFunc says where reading of a partition stands.
type nextFunc func(topic string, p int32) int64

// poll takes what a client has fetched, of at most so many records (0: all). What the last poll
// gave is not used any more. In the fetches a record stands for each batch that cannot be read
// (kafkabatch.Of). It gives nothing once ctx has ended.
func (k *Kafka) poll(ctx context.Context, cl *kgo.Client, most int, next nextFunc) (kgo.Fetches, error) {
	if d, is := cl.OptValue(kgo.WithDecompressor).(*kafkabatch.Decompressor); is {
		d.Reset()
	}
	fetches := cl.PollRecords(ctx, most)
	if ctx.Err() != nil || fetches.IsClientClosed() {
		return nil, nil
	}
	err := k.fetchErrors(ctx, fetches, next)
	if err == nil {
		fetches, err = k.passUnreadable(ctx, cl, fetches, next)
	}
	if ctx.Err() != nil { // what was polled is read again
		return nil, nil
	}
	return fetches, err
}

// fetchErrors turns the errors of a poll into the one that ends the attempt or the run. It logs
// those after which the client goes on by itself.
func (k *Kafka) fetchErrors(ctx context.Context, fetches kgo.Fetches, next nextFunc) error {
	var found error
	fetches.EachError(func(topic string, partition int32, err error) {
		var lost *kgo.ErrDataLoss
		var group *kgo.ErrGroupSession
		switch {
		case found != nil:
		case errors.As(err, &lost):
			found = ending.Gapf(topic, partition,
				"the log was truncated: reading stood at offset %d, the log goes on at %d",
				lost.ConsumedTo, lost.ResetTo)
		case errors.Is(err, kerr.OffsetOutOfRange):
			found = k.outOfRange(ctx, topic, partition)
		case errors.As(err, &group) && !errors.Is(err, kerr.GroupAuthorizationFailed):
			found = k.groupError(err)
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
			errors.Is(err, kgo.ErrClientClosed):
		case errors.Is(err, kafkabatch.ErrFull), kafkabatch.Undecodable(err): // fetched again; passed over
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed),
			errors.Is(err, kerr.ClusterAuthorizationFailed):
			found = fmt.Errorf("read %s[%d]: %w: grant Read and Describe on both topics and Read on group %q",
				topic, partition, err, k.cfg.Group)
		default:
			if k.noticed.due(Place{topic, partition}, err.Error(), time.Now()) {
				k.log.Warn("reading is disturbed", "topic", topic, "partition", partition,
					"offset", next(topic, partition), "cause", err)
			}
		}
	})
	return found
}

// outOfRange says what it means that a partition does not hold the next offset. Clicks that are
// only read again may be gone: the next attempt finds out who needs them.
func (k *Kafka) outOfRange(ctx context.Context, topic string, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	next := k.reading.next(topic, partition)
	starts, _, err := tryOffsets(ctx, k.admin(), Topic{Name: topic, Partitions: partition + 1}, atStart, false)
	switch start := starts[partition]; {
	case start == unknownOffset: // invariant: only what is known to be gone is a gap
		return &ending.RestartError{Cause: err}
	case next < 0 || next >= start:
		return ending.Gapf(topic, partition,
			"the offset to be read next is not there: retention deleted it, or the log was truncated")
	case topic == k.cfg.ClicksTopic && next < k.freshFrom(partition): // invariant: only what was never read is a gap
		return ending.Restartf("retention deleted clicks of partition %d while they were read again", partition)
	}
	return ending.NeverRead(topic, partition, next, starts[partition])
}

// Transient says whether an error of Kafka goes away by itself: brokers restart, leaders move,
// connections end before the first answer, requests time out. The client takes an early end of a
// connection for a sign that TLS is missing; whether the settings fit was found out when Kafka was
// first reached.
func Transient(err error) bool {
	var first *kgo.ErrFirstReadEOF
	var network net.Error
	return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &first) || errors.As(err, &network)
}

// passUnreadable moves the client past batches that cannot be read, and adds a record for each.
func (k *Kafka) passUnreadable(ctx context.Context, cl *kgo.Client, fetches kgo.Fetches, next nextFunc) (
	kgo.Fetches, error) {
	var stuck []kgo.FetchError
	fetches.EachError(func(topic string, partition int32, err error) {
		if kafkabatch.Undecodable(err) {
			stuck = append(stuck, kgo.FetchError{Topic: topic, Partition: partition, Err: err})
		}
	})
	for _, e := range stuck {
		at := next(e.Topic, e.Partition)
		bad, err := k.unreadable(ctx, cl, e.Topic, e.Partition, at)
		if err != nil && k.noticed.due(Place{e.Topic, e.Partition}, err.Error(), time.Now()) {
			k.log.Warn("a batch that cannot be read is not passed over for now",
				"topic", e.Topic, "partition", e.Partition, "offset", at, "cause", err)
		}
		if len(bad) == 0 { // the client fetches it again by itself
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
			continue
		}
		var records []*kgo.Record
		for _, b := range bad {
			records = append(records, b.Record(e.Topic, e.Partition, at))
			k.log.Warn("a batch that cannot be read is passed over", "topic", e.Topic, "partition", e.Partition,
				"offset", b.First, "next_offset", b.Next, "cause", b.Detail())
		}
		fetches = append(slices.Clip(fetches), fetchOf(e.Topic, e.Partition, records))
		// The group cannot rebalance before this poll is dealt with, so the partition is still
		// ours.
		last := bad[len(bad)-1]
		cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{
			e.Topic: {e.Partition: {Epoch: last.Epoch, Offset: last.Next}},
		})
	}
	return fetches, nil
}

func fetchOf(topic string, p int32, records []*kgo.Record) kgo.Fetch {
	partition := kgo.FetchPartition{Partition: p, Records: records}
	return kgo.Fetch{Topics: []kgo.FetchTopic{{Topic: topic, Partitions: []kgo.FetchPartition{partition}}}}
}

// unreadable fetches the batches at an offset as they are stored, and gives those that cannot be
// read. None: what the client met was damaged on its way.
func (k *Kafka) unreadable(ctx context.Context, cl *kgo.Client, topic string, partition int32,
	at int64) ([]*kafkabatch.Bad, error) {
	decompressor, err := kafkabatch.NewDecompressor(0, &k.large, &k.buffers)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := kafkabatch.Read(ctx, cl, topic, k.topicID(topic), partition, at)
	if err != nil {
		return nil, err
	}
	return decompressor.Unreadable(answer, at), nil
}

func (k *Kafka) topicID(name string) [16]byte {
	if name == k.cfg.ClicksTopic {
		return k.Clicks.ID
	}
	return k.Checkouts.ID
}

// How many records of a partition are read before they are handed over: a poll may bring a hundred
// thousand. Checkouts of a usual poll go in one piece, for the group cannot rebalance between
// pieces.
const (
	clicksAtOnce    = 16_384
	checkoutsAtOnce = 65_536
)

// pieces are the records of a poll in their order, at most so many of a partition at once.
func pieces(fetches kgo.Fetches, most int) iter.Seq[kgo.Fetches] {
	return func(yield func(kgo.Fetches) bool) {
		longest := 0
		fetches.EachPartition(func(f kgo.FetchTopicPartition) { longest = max(longest, len(f.Records)) })
		if longest <= most {
			yield(fetches)
			return
		}
		for from := 0; from < longest; from += most {
			var piece kgo.Fetches
			fetches.EachPartition(func(f kgo.FetchTopicPartition) {
				if to := min(from+most, len(f.Records)); from < to {
					piece = append(piece, fetchOf(f.Topic, f.Partition, f.Records[from:to]))
				}
			})
			if !yield(piece) {
				return
			}
		}
	}
}

// concurrentFrom is from how many records on the partitions of a poll are read concurrently. For
// fewer, the goroutines cost more than they gain.
const concurrentFrom = 256

// readPoll lets each partition of a poll be read by its reader, which open makes at first. It gives
// the readers that had records. Invariant: a reader reads once, all that the poll has of its
// partition: a batch that cannot be read may have come beside records.
func readPoll[R any](fetches kgo.Fetches, readers map[int32]R, open func(p int32) R,
	read func(R, kgo.FetchTopicPartition)) (used []R) {
	var parts []kgo.FetchTopicPartition
	index := map[int32]int{} // in parts
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		if i, twice := index[f.Partition]; twice {
			parts[i].Records = append(slices.Clip(parts[i].Records), f.Records...)
			return
		}
		index[f.Partition] = len(parts)
		parts = append(parts, f)
	})
	concurrent := fetches.NumRecords() >= concurrentFrom
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range parts {
		r, ok := readers[f.Partition]
		if !ok {
			r = open(f.Partition)
			readers[f.Partition] = r
		}
		used = append(used, r)
		if !concurrent {
			read(r, f)
			continue
		}
		g.Go(func() error { read(r, f); return nil })
	}
	_ = g.Wait() // read returns no error
	return used
}
