package pipeline

import (
	"bytes"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
)

// buffers lends the Kafka clients the memory that fetches are decompressed and decoded into, so that a backlog of any length is read
// in a few megabytes. Whoever has decoded a poll's records recycles them; nothing of them may be kept.
//
// Batches are of any size, and each takes a buffer: a small one must not hold a large one's, nor a large one make another because all that lie
// ready are small. So they lie by size.
type buffers struct {
	bytes   shelf[[]byte]
	records shelf[[]kgo.Record]
}

var (
	_ kgo.PoolDecompressBytes = (*buffers)(nil)
	_ kgo.PoolRecords         = (*buffers)(nil)
)

const (
	expand      = 4       // how much records compress by, about: a buffer that is too small grows
	maxExpand   = 64      // a length that is claimed beyond this is not believed
	maxKeptByte = 8 << 20 // a buffer that one huge batch has grown past this is not kept
	framed      = "\x82SNAPPY\x00"
)

func (b *buffers) GetDecompressBytes(compressed []byte, codec kgo.CompressionCodecType) []byte {
	size := expand * len(compressed)
	// Snappy says first how long it will be (https://github.com/google/snappy/blob/main/format_description.txt), except in Java's framing.
	if n, k := binary.Uvarint(compressed); codec == kgo.CodecSnappy && k > 0 && n <= maxExpand*uint64(len(compressed)) && !bytes.HasPrefix(compressed, []byte(framed)) {
		size = int(n)
	}
	size = roomy(size)
	if s, ok := b.bytes.take(size); ok {
		return s[:0]
	}
	return make([]byte, 0, size)
}

func (b *buffers) PutDecompressBytes(s []byte) {
	if n := cap(s); n >= 4 && n <= maxKeptByte {
		b.bytes.give(n, s)
	}
}

func (b *buffers) GetRecords(n int) []kgo.Record {
	n = roomy(n)
	if s, ok := b.records.take(n); ok {
		return s[:0]
	}
	return make([]kgo.Record, 0, n)
}

func (b *buffers) PutRecords(s []kgo.Record) {
	if n := cap(s); n >= 4 {
		b.records.give(n, s)
	}
}
