package kafkabatch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"firstclick/internal/kafkabatch"
	"firstclick/internal/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var codecs = map[string]kgo.CompressionCodecType{"gzip": kgo.CodecGzip, "snappy": kgo.CodecSnappy, "lz4": kgo.CodecLz4,
	"zstd": kgo.CodecZstd}

func made(t *testing.T, b *kmsg.RecordBatch, err error) *kmsg.RecordBatch {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decompressor(t *testing.T, budget int64) *kafkabatch.Decompressor {
	t.Helper()
	d, err := kafkabatch.NewDecompressor(budget, new(kafkabatch.LargeBuffers))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// With any codec, a batch up to the limit is read and a larger one is not. Its records count on top
// of its bytes.
func TestWhatABatchMayBecome(t *testing.T) {
	for name, codec := range codecs {
		d := decompressor(t, 0)
		for _, c := range []struct {
			what  string
			batch func() (*kmsg.RecordBatch, error)
			size  int // -1: not read
		}{
			{"small", func() (*kmsg.RecordBatch, error) { return kafkatest.Grains(codec, 3, "abc") }, 3 * 10},
			{"above what is ordinaryBytes", func() (*kmsg.RecordBatch, error) { return kafkatest.Bomb(codec, 20<<20) },
				20<<20 + 13},
			{"just below", func() (*kmsg.RecordBatch, error) { return kafkatest.Bomb(codec, kafkabatch.MaxBytes-1024) },
				kafkabatch.MaxBytes - 1024 + 13},
			{"just above", func() (*kmsg.RecordBatch, error) { return kafkatest.Bomb(codec, kafkabatch.MaxBytes) }, -1},
			{"many records", func() (*kmsg.RecordBatch, error) {
				return kafkatest.Grains(codec, kafkabatch.MaxBytes/kafkabatch.PerRecord, "")
			}, -1},
			{"rubble", func() (*kmsg.RecordBatch, error) { return kafkatest.Rubble(codec, 1), nil }, -1},
		} {
			b, err := c.batch()
			out, err := d.Decompress(made(t, b, err).Records, codec)
			switch {
			case c.size < 0 && !kafkabatch.Undecodable(err):
				t.Errorf("%s, %s: %d bytes, %v", name, c.what, len(out), err)
			case c.size < 0 && errors.Is(err, kgo.ErrMaxDecompress):
				t.Errorf("%s, %s: the client would stop reading: %v", name, c.what, err)
			case c.size >= 0 && (err != nil || len(out) != c.size):
				t.Errorf("%s, %s: %d bytes, %v; want %d", name, c.what, len(out), err, c.size)
			}
		}
	}
}

// A Java producer compresses in frames without a content size, with a window that may be larger
// than ordinaryBytes.
func TestZstdOfALargeWindow(t *testing.T) {
	// A frame by RFC 8878: no content size, a window of 8 MiB, one last RLE block of 100,000 bytes.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3}
	head := uint32(100_000)<<3 | 1<<1 | 1
	frame = append(frame, byte(head), byte(head>>8), byte(head>>16), 'x')
	out, err := decompressor(t, 0).Decompress(frame, kgo.CodecZstd)
	if err != nil || !bytes.Equal(out, bytes.Repeat([]byte("x"), 100_000)) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestBudgetIsSpentUntilReset(t *testing.T) {
	d := decompressor(t, 1<<20)
	b, err := kafkatest.Bomb(kgo.CodecZstd, 1<<20)
	packed := made(t, b, err).Records
	for range 3 {
		if _, err := d.Decompress(packed, kgo.CodecZstd); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decompress(packed, kgo.CodecZstd); !errors.Is(err, kafkabatch.ErrFull) ||
			kafkabatch.Undecodable(err) {
			t.Errorf("past the budget: %v", err)
		}
		d.Reset()
	}
}

func TestUnreadable(t *testing.T) {
	brokers := kafkatest.Fake(t, 1, "clicks")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	produce := func(b *kmsg.RecordBatch) int64 {
		t.Helper()
		at, err := kafkatest.ProduceBatch(ctx, brokers, "clicks", 0, b)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	good := func() int64 { return kafkatest.Produce(t, brokers, "clicks", 0, []byte("good")) }
	good()
	first := kafkatest.Rubble(kgo.CodecLz4, 5)
	b, err := kafkatest.Bomb(kgo.CodecZstd, 1<<30)
	bomb := made(t, b, err)
	begins := produce(first)
	second := produce(bomb)
	behind := good()
	third := produce(first)

	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("clicks"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if client.PollFetches(ctx).NumRecords() == 0 { // so that the client has the leader
		t.Fatal("nothing to read")
	}
	topics, err := kadm.NewClient(client).ListTopics(ctx, "clicks")
	if err != nil {
		t.Fatal(err)
	}
	d := decompressor(t, 0)
	from := func(at int64) []*kafkabatch.Bad {
		t.Helper()
		answer, err := kafkabatch.Read(ctx, client, "clicks", topics["clicks"].ID, 0, at)
		if err != nil {
			t.Fatal(err)
		}
		return d.Unreadable(answer, at)
	}
	bad := from(begins)
	if len(bad) != 2 {
		t.Fatalf("%d batches that cannot be read, want 2", len(bad))
	}
	for i, want := range []kafkabatch.Bad{
		{First: begins, Next: second, Records: 5, Codec: "lz4", Size: int64(len(first.Records)),
			Sum: sha256.Sum256(first.Records)},
		{First: second, Next: behind, Records: 1, Codec: "zstd", Size: int64(len(bomb.Records)),
			Sum: sha256.Sum256(bomb.Records)},
	} {
		got := *bad[i]
		got.Cause, got.Time, got.Epoch = nil, time.Time{}, 0
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if rec := bad[0].Record("clicks", 0, begins+2); rec.Offset != begins+2 || kafkabatch.Next(rec) != second ||
		kafkabatch.Of(rec) != bad[0] {
		t.Errorf("the record of a batch that reading stands in: %+v", rec)
	}
	if bad := from(behind); len(bad) != 1 || bad[0].First != third {
		t.Errorf("behind: %+v", bad)
	}
	if rec := (&kgo.Record{Offset: 7}); kafkabatch.Of(rec) != nil || kafkabatch.Next(rec) != 8 {
		t.Error("a record is taken for a batch")
	}
}

// A batch of an aborted transaction is passed over. One of the same producer that was committed
// before is not.
func TestUnreadableOfATransaction(t *testing.T) {
	batch := func(first, producer int64, attributes int16) []byte {
		b := kafkatest.Rubble(kgo.CodecGzip, 1)
		b.FirstOffset, b.ProducerID, b.Attributes = first, producer, b.Attributes|attributes
		return kafkatest.Sealed(b)
	}
	const transactional, control = 0x10, 0x20
	marker := func(first, producer int64) []byte {
		return kafkatest.Sealed(&kmsg.RecordBatch{FirstOffset: first, Magic: 2, Attributes: transactional | control,
			ProducerID: producer, NumRecords: 1, Records: []byte{12, 0, 0, 0, 1, 1, 0}})
	}
	var all []byte
	for _, b := range [][]byte{batch(10, 1, transactional), batch(11, 1, transactional), marker(12, 1),
		batch(13, 1, transactional), batch(14, 2, transactional), batch(15, -1, 0)} {
		all = append(all, b...)
	}
	answer := &kmsg.FetchResponseTopicPartition{RecordBatches: all,
		AbortedTransactions: []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 11}}}
	d := decompressor(t, 0)
	var got []bool
	for _, at := range []int64{10, 13} {
		for _, b := range d.Unreadable(answer, at) {
			got = append(got, b.Aborted)
		}
	}
	// The marker can be read, so the first answer ends there.
	want := []bool{false, true, false, false, false}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("batch %d: aborted is %v", i, got[i])
		}
	}
}

// A batch that is cut off, damaged or of an older format is not reported as unreadable.
func TestUnreadableNeverGuesses(t *testing.T) {
	d := decompressor(t, 0)
	whole := kafkatest.Sealed(kafkatest.Rubble(kgo.CodecZstd, 3))
	if n := len(d.Unreadable(&kmsg.FetchResponseTopicPartition{RecordBatches: whole}, 0)); n != 1 {
		t.Fatalf("%d batches", n)
	}
	for n := range whole {
		if bad := d.Unreadable(&kmsg.FetchResponseTopicPartition{RecordBatches: whole[:n]}, 0); bad != nil {
			t.Errorf("of %d bytes: %+v", n, bad)
		}
		if n < 8 || n >= 12 && n < 16 { // the checksum does not cover offset and leader epoch
			continue
		}
		spoilt := bytes.Clone(whole)
		spoilt[n] ^= 1
		if bad := d.Unreadable(&kmsg.FetchResponseTopicPartition{RecordBatches: spoilt}, 0); bad != nil {
			t.Errorf("with byte %d changed: %+v", n, bad)
		}
	}
}
