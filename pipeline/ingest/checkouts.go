package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkabatch"
	"firstclick/join/decode"
	"firstclick/join/event"
	"firstclick/pipeline/chunk"
)

// checkoutsTaker takes what was read of checkouts. Its methods wait until it does, or ctx ends.
type checkoutsTaker interface {
	// Room waits until there is memory for another poll. false: ctx ended.
	Room(ctx context.Context) bool
	Checkouts(ctx context.Context, chunks []*chunk.Chunk)
	// Left says that the group has been left: nothing more comes.
	Left()
}

// Checkouts reads the checkouts topic as a member of the group.
type Checkouts struct {
	Kafka    *Kafka
	Ends     *Ends
	Hasher   event.Hasher
	Chunks   *chunk.Pool
	Payloads payloads
	Taker    checkoutsTaker
	Owned    func() bool // whether this instance owns shards

	partitions map[int32]*checkoutsReader
}

// stopTime is how long the last transactions and leaving the group may take. Closing the clients
// takes a few seconds more, and supervisors usually wait for 30 s.
const stopTime = 20 * time.Second

// Run reads until reading ends, then leaves the group in good order: the revocation that comes with
// it lets the taker finish every shard. ctx ends it at once.
func (c *Checkouts) Run(ctx, reading context.Context) error {
	k := c.Kafka
	c.partitions = map[int32]*checkoutsReader{}
	// While there is no room nothing is polled: what the client has fetched stays with it, and the
	// group may rebalance. To pause the partitions would throw away what was fetched of them.
	for c.Taker.Room(reading) {
		fetches, err := k.poll(reading, k.group, 0, k.reading.next)
		if err == nil && fetches != nil {
			c.handOver(reading, fetches)
		}
		k.group.AllowRebalance()
		if err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil // what was not committed does not count
	}
	leaving, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	switch err := k.group.LeaveGroupContext(leaving); {
	case ctx.Err() != nil:
	case leaving.Err() != nil && c.Owned():
		return fmt.Errorf("told to stop, and what was under way did not end within %v: does Postgres wait for a "+
			"synchronous standby, or for a lock? A transaction that lands later counts all the same", stopTime)
	case err != nil:
		k.log.Warn("the group was not left in good order; its session timeout will end the membership", "cause", err)
	}
	c.Taker.Left() // not after an error: the taker would be the first to report one, and a wrong one
	return nil
}

// handOver decodes what a poll brought, each piece when there is room for it.
func (c *Checkouts) handOver(ctx context.Context, fetches kgo.Fetches) {
	k, first := c.Kafka, true
	barrier := c.Ends.Barrier() // after the fetch: docs/architecture.md#promise-2-no-false-nulls
	for piece := range pieces(fetches, checkoutsAtOnce) {
		if !first && !c.Taker.Room(ctx) {
			return
		}
		first = false
		used := readPoll(piece, c.partitions, func(int32) *checkoutsReader { return c.reader(k.Metrics, c.Payloads) },
			func(r *checkoutsReader, f kgo.FetchTopicPartition) { r.read(f.Partition, f.Records, barrier) })
		var chunks []*chunk.Chunk
		for _, r := range used {
			n := len(r.out.Checkouts)
			k.Metrics.Polled(k.cfg.CheckoutsTopic, r.out.Partition, int64(n), r.out.Bytes, r.last)
			k.reading.moved(k.cfg.CheckoutsTopic, r.out.Partition, r.out.Checkouts[n-1].Offset+1, r.last)
			chunks = append(chunks, r.out)
		}
		if len(chunks) > 0 {
			c.Ends.Wake()
			c.Taker.Checkouts(ctx, chunks)
		}
	}
}

func (c *Checkouts) reader(m *Metrics, keep payloads) *checkoutsReader {
	k := c.Kafka
	return &checkoutsReader{
		metrics: m, payloads: keep, chunks: c.Chunks, hasher: c.Hasher, skew: k.cfg.Rule.MaxFutureSkew,
		topicID: k.Checkouts.ID, decoder: decode.New(k.cfg.Zone),
	}
}

// checkoutsReader decodes a partition's records into chunks.
type checkoutsReader struct {
	metrics  *Metrics // nil: the records are read again, and were counted before
	payloads payloads // likewise
	chunks   *chunk.Pool
	hasher   event.Hasher
	skew     time.Duration
	topicID  [16]byte
	decoder  *decode.Decoder

	out  *chunk.Chunk // what the last call of read brought
	last int64        // timestamp of its last record
}

// read decodes records, which wait for the answer to the request for end offsets with the number
// barrier.
func (r *checkoutsReader) read(partition int32, records []*kgo.Record, barrier uint64) {
	size := 0
	for _, rec := range records {
		if len(rec.Value) <= event.MaxRecord { // of a larger one nothing is kept
			size += len(rec.Value)
		}
	}
	r.last = recordTime(records[len(records)-1])
	r.out = r.chunks.Get(partition, len(records), size)
	for i, rec := range records {
		k := &r.out.Checkouts[i]
		k.Offset, k.Epoch, k.Barrier, k.RecordTime = kafkabatch.Next(rec)-1, rec.LeaderEpoch, barrier, recordTime(rec)
		if bad := kafkabatch.Of(rec); bad != nil {
			k.Skip = true
			if !bad.Aborted {
				r.reject(k, batchLetter(rec, bad, r.topicID))
			}
		} else if rec.Attrs.IsControl() {
			k.Skip = true
		} else if err := r.decode(rec, k); err != nil {
			k.Skip = true
			r.reject(k, deadLetter(rec, r.topicID, err, r.payloads))
		}
		rec.Recycle()
	}
	r.decoder.LetGo()
}

func (r *checkoutsReader) decode(rec *kgo.Record, k *event.Checkout) error {
	slab, err := r.decoder.Checkout(rec.Value, k, r.out.Slab)
	if err == nil {
		err = checkFuture(k.Time, rec, r.skew)
	}
	if err != nil {
		return err
	}
	r.out.Slab = slab
	k.Key = r.hasher.Key(k.User, k.Product())
	return nil
}

// reject lets the dead letter be released in the record's turn.
func (r *checkoutsReader) reject(k *event.Checkout, d event.DeadLetter) {
	k.Dead = &d
	r.metrics.undecoded(d.Topic, d.Reason)
}
