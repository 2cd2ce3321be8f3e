package kafkatest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bomb is a batch of one record whose value is so many zeros, compressed: up to 10,000 times
// smaller. The codecs are gzip, snappy, lz4 and zstd. Snappy, which compresses to a twentieth at
// best, comes in the frames of Java's producers.
func Bomb(codec kgo.CompressionCodecType, becomes int64) (*kmsg.RecordBatch, error) {
	// A record, but for its value's zeros and the byte that says that there are no headers.
	body := []byte{0, 0, 0} // attributes, deltas of time and offset
	body = binary.AppendVarint(body, -1)
	body = binary.AppendVarint(body, becomes)
	head := binary.AppendVarint(nil, int64(len(body))+becomes+1)
	head = append(head, body...)

	// Every codec allows its frames to follow each other. So a gigabyte is never held: one frame of
	// zeros is made and repeated.
	const unit = 1 << 20
	compressor, err := kgo.DefaultCompressor(codecs()[codec])
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	var out bytes.Buffer
	frame := func(content []byte) []byte {
		packed, _ := compressor.Compress(new(bytes.Buffer), content)
		if codec == kgo.CodecSnappy {
			packed = append(binary.BigEndian.AppendUint32(nil, uint32(len(packed))), packed...)
		}
		return bytes.Clone(packed)
	}
	if codec == kgo.CodecSnappy {
		out.WriteString("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	}
	out.Write(frame(head))
	zeros := frame(make([]byte, unit))
	for n := int64(0); n < becomes/unit; n++ {
		out.Write(zeros)
	}
	out.Write(frame(make([]byte, becomes%unit+1)))
	return batchOf(codec, 1, out.Bytes()), nil
}

// Rubble is a batch whose content is no stream of its codec, although its checksum is right.
func Rubble(codec kgo.CompressionCodecType, records int32) *kmsg.RecordBatch {
	return batchOf(codec, records, []byte("this is compressed by nobody"))
}

func batchOf(codec kgo.CompressionCodecType, records int32, packed []byte) *kmsg.RecordBatch {
	now := time.Now().UnixMilli()
	return &kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: records - 1,
		FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: records, Records: packed,
	}
}

// ProduceBatch writes a batch as it is, acknowledged by all replicas, and returns the offset of its
// first record.
func ProduceBatch(ctx context.Context, brokers []string, topic string, partition int32,
	batch *kmsg.RecordBatch) (first int64, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.BrokerMaxWriteBytes(1<<30))
	if err != nil {
		return -1, fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	metadata := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	metadata.Topics = append(metadata.Topics, t)
	described, err := metadata.RequestWith(ctx, client)
	if err != nil {
		return -1, fmt.Errorf("ask for topic %s: %w", topic, err)
	}

	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, described.Topics[0].TopicID
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, Sealed(batch)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	for _, p := range described.Topics[0].Partitions {
		if p.Partition != partition {
			continue
		}
		resp, err := req.RequestWith(ctx, client.Broker(int(p.Leader)))
		if err != nil {
			return -1, fmt.Errorf("produce to %s[%d]: %w", topic, partition, err)
		}
		got := resp.Topics[0].Partitions[0]
		return got.BaseOffset, kerr.ErrorForCode(got.ErrorCode)
	}
	return -1, fmt.Errorf("topic %s has no partition %d", topic, partition)
}

// Sealed is the batch as bytes, with its length and checksum.
// https://kafka.apache.org/documentation/#recordbatch
func Sealed(batch *kmsg.RecordBatch) []byte {
	const lengthAt, lengthEnds, sumAt, sumEnds = 8, 12, 17, 21
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[lengthAt:], uint32(len(raw)-lengthEnds))
	binary.BigEndian.PutUint32(raw[sumAt:], crc32.Checksum(raw[sumEnds:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// Grains is a batch of so many records with the same value, which may be empty: memory goes by
// their number.
func Grains(codec kgo.CompressionCodecType, records int32, value string) (*kmsg.RecordBatch, error) {
	compressor, err := kgo.DefaultCompressor(codecs()[codec])
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	var all []byte
	for i := range int64(records) {
		body := binary.AppendVarint([]byte{0, 0}, i) // attributes, deltas of time and offset
		body = binary.AppendVarint(body, -1)
		body = binary.AppendVarint(body, int64(len(value)))
		body = append(append(body, value...), 0)
		all = append(binary.AppendVarint(all, int64(len(body))), body...)
	}
	packed, _ := compressor.Compress(new(bytes.Buffer), all)
	return batchOf(codec, records, bytes.Clone(packed)), nil
}

func codecs() map[kgo.CompressionCodecType]kgo.CompressionCodec {
	return map[kgo.CompressionCodecType]kgo.CompressionCodec{
		kgo.CodecGzip: kgo.GzipCompression(), kgo.CodecSnappy: kgo.SnappyCompression(),
		kgo.CodecLz4: kgo.Lz4Compression(), kgo.CodecZstd: kgo.ZstdCompression(),
	}
}
