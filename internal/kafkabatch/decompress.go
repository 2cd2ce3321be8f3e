package kafkabatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// MaxBytes bounds a batch in memory: its decompressed bytes, and PerRecord for each record.
	// Brokers accept batches of 1 MiB by default, and compression makes JSON four to eight times
	// smaller.
	MaxBytes = 24 << 20
	// PerRecord is about what a consumer keeps for a record besides its bytes.
	PerRecord = 160
)

// ErrFull says that the budget is spent. The batch has to be fetched again.
var ErrFull = errors.New("what was fetched takes the memory that there is for it: the rest is fetched again")

// errLarge says that a batch becomes larger than MaxBytes. It is not kgo.ErrMaxDecompress, after
// which the client stops reading the partition, for good if the error goes with a fetch that nobody
// polled.
var errLarge = fmt.Errorf("it becomes more than %d MiB in memory", MaxBytes>>20)

// decompressError marks the errors that make a batch unreadable.
type decompressError struct{ err error }

func (e *decompressError) Error() string { return e.err.Error() }
func (e *decompressError) Unwrap() error { return e.err }

// Undecodable says whether a fetch failed for what a batch holds.
func Undecodable(err error) bool {
	var codec *decompressError
	return errors.As(err, &codec)
}

// ordinaryBytes is enough for nearly every batch.
const ordinaryBytes = 4 << 20

// Decompressor decompresses batches of at most MaxBytes. Safe for concurrent use.
type Decompressor struct {
	// A codec that does not know the size of its output copies it to ever larger buffers, which are
	// garbage. So a batch that is larger than ordinary is decompressed again, in one buffer of the
	// largest allowed size.
	small, large kgo.Decompressor
	buffers      *LargeBuffers
	budget       int64 // that may be decompressed between two calls of Reset; 0: any
	used         atomic.Int64
}

// NewDecompressor makes a Decompressor that takes buffers from the pools, and from large for
// batches that are larger than ordinary. budget is how many bytes may be decompressed between two
// calls of Reset before it returns ErrFull; 0: any.
func NewDecompressor(budget int64, large *LargeBuffers, pools ...kgo.Pool) (*Decompressor, error) {
	small, err := bounded(ordinaryBytes, pools...)
	if err != nil {
		return nil, err
	}
	inner, err := bounded(MaxBytes, large)
	if err != nil {
		return nil, err
	}
	return &Decompressor{small: small, large: inner, buffers: large, budget: budget}, nil
}

// bounded is the Kafka client's own decompressor, which has every codec. Its bound is an option of
// the client, so only a client can make it.
func bounded(most int, pools ...kgo.Pool) (kgo.Decompressor, error) {
	client, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(most), kgo.WithPools(pools...))
	if err != nil {
		return nil, fmt.Errorf("make a decompressor: %w", err)
	}
	defer client.Close()
	inner, is := client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if !is {
		return nil, errors.New("make a decompressor: the Kafka client has none")
	}
	return inner, nil
}

const largeBytes = MaxBytes + bytes.MinRead // a bytes.Buffer reads into that much more

// LargeBuffers lends buffers of the largest allowed size to the Decompressors that share it, one at
// a time: else too large batches of many partitions would take one each. The buffer of a batch that
// could be read goes with its records; any other one comes back.
type LargeBuffers struct {
	inUse    sync.Mutex
	returned sync.Pool
}

// GetDecompressBytes implements kgo.PoolDecompressBytes.
func (l *LargeBuffers) GetDecompressBytes([]byte, kgo.CompressionCodecType) []byte {
	if b, is := l.returned.Get().(*[largeBytes]byte); is {
		return b[:0]
	}
	return new([largeBytes]byte)[:0]
}

// PutDecompressBytes implements kgo.PoolDecompressBytes.
func (l *LargeBuffers) PutDecompressBytes(b []byte) {
	if cap(b) == largeBytes {
		l.returned.Put((*[largeBytes]byte)(b[:largeBytes]))
	}
}

// Reset says that what was decompressed so far has been freed.
func (d *Decompressor) Reset() { d.used.Store(0) }

// Decompress implements kgo.Decompressor.
func (d *Decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if d.budget > 0 && d.used.Load() >= d.budget {
		return nil, ErrFull
	}
	out, err := d.small.Decompress(src, codec)
	if err != nil { // or the window of zstd is larger than ordinary
		d.buffers.inUse.Lock()
		out, err = d.large.Decompress(src, codec)
		d.buffers.inUse.Unlock()
	}
	if errors.Is(err, kgo.ErrMaxDecompress) {
		err = errLarge
	}
	if err != nil {
		return nil, &decompressError{err}
	}
	weight := int64(len(out)) + PerRecord*count(out)
	if weight > MaxBytes {
		return nil, &decompressError{errLarge}
	}
	d.used.Add(weight)
	return out, nil
}

// leastRecord is the length of an empty record: attributes, two deltas, and the lengths of key,
// value and headers.
// https://kafka.apache.org/documentation/#record
const leastRecord = 6

// count counts the records of a batch by their lengths. It stops at the first one that is invalid.
func count(records []byte) (n int64) {
	for len(records) > 0 {
		length, used := binary.Varint(records)
		if used <= 0 || length < leastRecord || length > int64(len(records)-used) {
			return n
		}
		records = records[used+int(length):]
		n++
	}
	return n
}
