package ingest

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/sizepool"
)

// buffers is the memory that the Kafka clients decompress and decode fetches into, so that a
// backlog of any length is read in a few megabytes. A reader recycles the records of a poll once
// they are decoded, and keeps nothing of them. Batches differ in size, so buffers are pooled by
// size.
type buffers struct {
	bytes   sizepool.Pool[[]byte]
	records sizepool.Pool[[]kgo.Record]
}

var (
	_ kgo.PoolDecompressBytes = (*buffers)(nil)
	_ kgo.PoolRecords         = (*buffers)(nil)
)

const (
	expand      = 4       // roughly the factor by which records compress; a buffer that is too small grows
	maxExpand   = 64      // a claimed length beyond this factor is not believed
	maxKeptByte = 8 << 20 // a larger buffer is not kept
	framed      = "\x82SNAPPY\x00"
)

// limit bounds what the pools keep, under a memory limit of the process; 0: no bound.
func (b *buffers) limit(memory int64) {
	b.bytes.Limit = int(memory / 32)
	b.records.Limit = int(memory/32) / int(unsafe.Sizeof(kgo.Record{}))
}

func (b *buffers) GetDecompressBytes(compressed []byte, codec kgo.CompressionCodecType) []byte {
	size := expand * len(compressed)
	// Snappy data begin with the decompressed length, except in Java's framing:
	// https://github.com/google/snappy/blob/main/format_description.txt
	n, k := binary.Uvarint(compressed)
	if codec == kgo.CodecSnappy && k > 0 && n <= maxExpand*uint64(len(compressed)) &&
		!bytes.HasPrefix(compressed, []byte(framed)) {
		size = int(n)
	}
	size = sizepool.Round(size)
	if s, ok := b.bytes.Get(size); ok {
		return s[:0]
	}
	return make([]byte, 0, size)
}

func (b *buffers) PutDecompressBytes(s []byte) {
	if n := cap(s); n >= 4 && n <= maxKeptByte {
		b.bytes.Put(n, s)
	}
}

func (b *buffers) GetRecords(n int) []kgo.Record {
	n = sizepool.Round(n)
	if s, ok := b.records.Get(n); ok {
		return s[:0]
	}
	return make([]kgo.Record, 0, n)
}

func (b *buffers) PutRecords(s []kgo.Record) {
	if n := cap(s); n >= 4 {
		b.records.Put(n, s)
	}
}
