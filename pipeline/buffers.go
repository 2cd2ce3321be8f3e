package pipeline

import (
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
	maxKeptByte = 8 << 20 // a buffer that one huge batch has grown past this is not kept
)

func (b *buffers) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	if p, _ := b.bytes.Get().(*[]byte); p != nil && cap(*p) >= len(compressed) {
		return (*p)[:0]
	}
	return make([]byte, 0, expand*len(compressed))
}

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
