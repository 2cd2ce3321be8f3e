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
	// MaxBytes is what a batch may become: its decompressed bytes, and PerRecord for each of its records. Brokers take batches of 1 MiB unless
	// told otherwise; events in JSON are compressed to a fourth to an eighth.
	MaxBytes = 24 << 20
	// PerRecord is about what a consumer keeps of a record besides its bytes.
	PerRecord = 160
)

// ErrFull says that the budget is spent: the batch is to be fetched again.
var ErrFull = errors.New("what was fetched takes the memory that there is for it: the rest is fetched again")

// errLarge says that a batch becomes more than MaxBytes. It is not the client's own error for that: after that one the client stops reading
// the partition, and where the error is thrown away with a fetch that nobody polled it does so for good.
var errLarge = fmt.Errorf("it becomes more than %d MiB in memory", MaxBytes>>20)

// decompressError marks what a batch is unreadable for.
type decompressError struct{ err error }

func (e *decompressError) Error() string { return e.err.Error() }
func (e *decompressError) Unwrap() error { return e.err }

// Undecodable says whether a fetch failed because of what a batch holds.
func Undecodable(err error) bool {
	var codec *decompressError
	return errors.As(err, &codec)
}

// ordinary is what batches become, with few exceptions.
const ordinary = 4 << 20

// Decompressor decompresses batches of at most MaxBytes. Safe for concurrent use.
type Decompressor struct {
	// Codecs let their output grow as it comes: each time it is copied to a larger buffer, and the last one is garbage. So one that is not
	// ordinary is begun again in a buffer that is large enough for all that is allowed.
	small, large kgo.Decompressor
	turns        *Large
	most         int64 // that may be decompressed between two calls of Reset; 0: any
	taken        atomic.Int64
}

// NewDecompressor makes a Decompressor of buffers from the pools, and from large for batches that
// are not ordinary. budget is how much may be decompressed between two calls of Reset before it
// says ErrFull; 0: any.
func NewDecompressor(budget int64, large *Large, pools ...kgo.Pool) (*Decompressor, error) {
	small, err := bounded(ordinary, pools...)
	if err != nil {
		return nil, err
	}
	inner, err := bounded(MaxBytes, large)
	if err != nil {
		return nil, err
	}
	return &Decompressor{small: small, large: inner, turns: large, most: budget}, nil
}

// bounded is the client's own decompressor. It knows every codec; its bound is an option of the client, so that only a client has it.
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

const largeRoom = MaxBytes + bytes.MinRead // a bytes.Buffer reads on into that much more

// Large lends buffers that nothing outgrows, to the Decompressors that share it: one at a time, or
// batches of many partitions would each take one to find that they are larger still. Such a buffer
// comes back; that of a batch that was read goes with its records.
type Large struct {
	turn sync.Mutex
	back sync.Pool
}

// GetDecompressBytes implements kgo.PoolDecompressBytes.
func (l *Large) GetDecompressBytes([]byte, kgo.CompressionCodecType) []byte {
	if b, is := l.back.Get().(*[largeRoom]byte); is {
		return b[:0]
	}
	return new([largeRoom]byte)[:0]
}

// PutDecompressBytes implements kgo.PoolDecompressBytes.
func (l *Large) PutDecompressBytes(b []byte) {
	if cap(b) == largeRoom {
		l.back.Put((*[largeRoom]byte)(b[:largeRoom]))
	}
}

// Reset says that what was decompressed so far is not held any more.
func (d *Decompressor) Reset() { d.taken.Store(0) }

// Decompress implements kgo.Decompressor.
func (d *Decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if d.most > 0 && d.taken.Load() >= d.most {
		return nil, ErrFull
	}
	out, err := d.small.Decompress(src, codec)
	if err != nil { // also zstd's window may be larger than what is ordinary
		d.turns.turn.Lock()
		out, err = d.large.Decompress(src, codec)
		d.turns.turn.Unlock()
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
	d.taken.Add(weight)
	return out, nil
}

// leastRecord is the length of a record that has nothing: attributes, two deltas, and the lengths of key, value and headers.
// https://kafka.apache.org/documentation/#record
const leastRecord = 6

// count counts the records of a batch by their lengths. It stops at what is no record.
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
