package pipeline

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// buffers lends the Kafka clients the memory that fetches are decompressed and decoded into, so that a backlog of any length is read
// in a few megabytes. Whoever has decoded a poll's records recycles them; nothing of them may be kept.
type buffers struct {
	bytes   sync.Pool // of *[]byte
	records sync.Pool // of *[]kgo.Record
}

var (
	_ kgo.PoolDecompressBytes = (*buffers)(nil)
	_ kgo.PoolRecords         = (*buffers)(nil)
)

const (
	expand      = 4       // how much records compress by, about: a buffer that is too small grows
	maxExpand   = 64      // a length that is claimed beyond this is not believed
	maxKeptByte = 8 << 20 // a buffer that one huge batch has grown past this is not kept
)

func (b *buffers) GetDecompressBytes(compressed []byte, codec kgo.CompressionCodecType) []byte {
	size := expand * len(compressed)
	// Snappy says first how long it will be (https://github.com/google/snappy/blob/main/format_description.txt), except in Java's framing.
	if n, k := binary.Uvarint(compressed); codec == kgo.CodecSnappy && k > 0 && n <= maxExpand*uint64(len(compressed)) && !bytes.HasPrefix(compressed, []byte(framed)) {
		size = int(n)
	}
	if p, _ := b.bytes.Get().(*[]byte); p != nil && cap(*p) >= size {
		return (*p)[:0]
	}
	return make([]byte, 0, size)
}

// framed begins Snappy data that come in blocks, as Java's clients write them.
const framed = "\x82SNAPPY\x00"

func (b *buffers) PutDecompressBytes(s []byte) {
	if cap(s) <= maxKeptByte {
		b.bytes.Put(&s)
	}
}

func (b *buffers) GetRecords(n int) []kgo.Record {
	if p, _ := b.records.Get().(*[]kgo.Record); p != nil && cap(*p) >= n {
		return (*p)[:0]
	}
	return make([]kgo.Record, 0, n)
}

func (b *buffers) PutRecords(s []kgo.Record) { b.records.Put(&s) }
