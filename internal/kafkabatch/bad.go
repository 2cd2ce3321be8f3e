package kafkabatch

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bad is a batch that cannot be read.
type Bad struct {
	First, Next int64 // offsets of its first record, and after its last one
	Epoch       int32 // of the leader that wrote it
	Records     int32 // by its header
	Codec       string
	Size        int64             // as it is stored, compressed
	Sum         [sha256.Size]byte // of that
	Time        time.Time         // the latest timestamp in it
	Aborted     bool              // of an aborted transaction: nobody reads it
	Cause       error
}

// Detail describes the batch for people.
func (b *Bad) Detail() string {
	why := b.Cause.Error()
	if !errors.Is(b.Cause, errLarge) {
		why = "it does not decompress: " + why
	}
	return fmt.Sprintf("a batch of %d records, offsets %d to %d, %d bytes of %s: %s",
		b.Records, b.First, b.Next-1, b.Size, b.Codec, why)
}

type badKey struct{}

// Record stands for the batch among the records of its partition: at its first offset, or at the
// offset of the fetch if that is later.
func (b *Bad) Record(topic string, partition int32, at int64) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: partition, Offset: max(b.First, at), LeaderEpoch: b.Epoch, Timestamp: b.Time,
		Context: context.WithValue(context.Background(), badKey{}, b),
	}
}

// Of returns the batch that a record stands for; nil: it is a record.
func Of(r *kgo.Record) *Bad {
	if r.Context == nil {
		return nil
	}
	b, _ := r.Context.Value(badKey{}).(*Bad)
	return b
}

// Next is the offset after a record, or after the batch that it stands for.
func Next(r *kgo.Record) int64 {
	if b := Of(r); b != nil {
		return b.Next
	}
	return r.Offset + 1
}

// Read fetches batches from an offset on from the partition's leader, as they are stored.
func Read(
	ctx context.Context, client *kgo.Client, topic string, id [16]byte, partition int32, at int64,
) (*kmsg.FetchResponseTopicPartition, error) {
	leader, _, err := client.PartitionLeader(topic, partition)
	if err != nil {
		return nil, fmt.Errorf("find the leader of %s[%d]: %w", topic, partition, err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, readBytes
	req.IsolationLevel = 1 // read_committed: the answer lists aborted transactions
	req.SessionEpoch = -1  // no fetch session
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, readBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client.Broker(int(leader)))
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch %s[%d] from offset %d: %w", topic, partition, at, err)
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if got := &resp.Topics[i].Partitions[j]; got.Partition == partition {
				return got, kerr.ErrorForCode(got.ErrorCode)
			}
		}
	}
	return nil, fmt.Errorf("fetch %s[%d] from offset %d: the answer is about something else", topic, partition, at)
}

const readBytes = 256 << 10 // of a fetch; a larger batch comes whole

// Unreadable returns the batches of an answer that cannot be read, from an offset on, up to the
// next one that can.
func (d *Decompressor) Unreadable(answer *kmsg.FetchResponseTopicPartition, at int64) (bad []*Bad) {
	aborted := abortedOf(answer)
	for rest := answer.RecordBatches; ; {
		var batch *kmsg.RecordBatch
		if batch, rest = parse(rest); batch == nil {
			return bad
		}
		next := batch.FirstOffset + int64(batch.LastOffsetDelta) + 1
		gone := aborted.holds(batch)
		if next <= at {
			continue
		}
		codec := kgo.CompressionCodecType(batch.Attributes & 7)
		var err error
		if codec != kgo.CodecNone {
			_, err = d.Decompress(batch.Records, codec)
		}
		switch {
		case err != nil:
			bad = append(bad, &Bad{
				First: batch.FirstOffset, Next: next, Epoch: batch.PartitionLeaderEpoch, Records: batch.NumRecords,
				Codec: nameOf(codec), Size: int64(len(batch.Records)), Sum: sha256.Sum256(batch.Records),
				Time: time.UnixMilli(batch.MaxTimestamp), Aborted: gone, Cause: err,
			})
		case bad != nil:
			return bad
		}
	}
}

// Positions in a batch. The checksum covers what comes after it.
// https://kafka.apache.org/documentation/#recordbatch
const (
	lengthEnds = 12 // after offset and length
	magicAt    = 16
	sumEnds    = 21
)

// parse parses the first batch. It returns nil if that is cut off, of an older format, or damaged.
func parse(in []byte) (batch *kmsg.RecordBatch, rest []byte) {
	if len(in) <= sumEnds || in[magicAt] != 2 {
		return nil, nil
	}
	length := int64(int32(binary.BigEndian.Uint32(in[8:]))) + lengthEnds
	if length <= sumEnds || length > int64(len(in)) {
		return nil, nil
	}
	batch = &kmsg.RecordBatch{}
	if err := batch.ReadFrom(in[:length]); err != nil || batch.LastOffsetDelta < 0 {
		return nil, nil
	}
	if sum := crc32.Checksum(in[sumEnds:length], crc32.MakeTable(crc32.Castagnoli)); sum != uint32(batch.CRC) {
		return nil, nil
	}
	return batch, in[length:]
}

// transactions are the offsets where each producer's aborted transactions begin.
type transactions map[int64][]int64

func abortedOf(answer *kmsg.FetchResponseTopicPartition) transactions {
	t := transactions{}
	for _, a := range answer.AbortedTransactions {
		t[a.ProducerID] = append(t[a.ProducerID], a.FirstOffset)
	}
	for _, firsts := range t {
		slices.Sort(firsts)
	}
	return t
}

// holds says whether the batch is of an aborted transaction. Batches must come in order: a marker
// ends a transaction.
func (t transactions) holds(batch *kmsg.RecordBatch) bool {
	const transactional, control = 0x10, 0x20
	firsts := t[batch.ProducerID]
	if batch.Attributes&transactional == 0 || len(firsts) == 0 || batch.FirstOffset < firsts[0] {
		return false
	}
	if batch.Attributes&control != 0 {
		t[batch.ProducerID] = firsts[1:]
	}
	return true
}

func nameOf(codec kgo.CompressionCodecType) string {
	names := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	if int(codec) < len(names) {
		return names[codec]
	}
	return fmt.Sprintf("compression %d", codec)
}
