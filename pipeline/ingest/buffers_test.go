package ingest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// A buffer is as large as requested and not half as large again, whatever was put before:
// a class holds no buffer that is too small for it.
func TestBuffersFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b buffers
		for range rapid.IntRange(1, 50).Draw(t, "times") {
			n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 3<<20)).Draw(t, "size")
			compressed := make([]byte, n/expand)
			s := b.GetDecompressBytes(compressed, kgo.CodecZstd)
			if want := len(compressed) * expand; cap(s) < want || cap(s) > want+want/2+8 {
				t.Fatalf("%d bytes for %d", cap(s), want)
			}
			if rapid.Bool().Draw(t, "outgrown") {
				s = make([]byte, cap(s)+rapid.IntRange(0, 1<<20).Draw(t, "by"))
			}
			b.PutDecompressBytes(s)
			count := n % 9000
			records := b.GetRecords(count)
			if cap(records) < count || cap(records) > count+count/2+8 {
				t.Fatalf("%d records for %d", cap(records), count)
			}
			b.PutRecords(records)
		}
	})
}

// A claimed length is believed only where the data can expand to it.
func TestSnappyTellsItsLength(t *testing.T) {
	var b buffers
	data := append([]byte{0x80, 0x80, 0x04}, make([]byte, 5000)...) // 65,536
	if s := b.GetDecompressBytes(data, kgo.CodecSnappy); cap(s) != 65_536 {
		t.Errorf("%d bytes", cap(s))
	}
	claims := append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, make([]byte, 95)...)
	java := append([]byte(framed), make([]byte, 92)...)
	for _, data := range [][]byte{claims, java} {
		if s := b.GetDecompressBytes(data, kgo.CodecSnappy); cap(s) > 2*expand*len(data) {
			t.Errorf("%d bytes for %d", cap(s), len(data))
		}
	}
}

// Fetches are smaller under a small memory limit; past a size, larger ones gain nothing.
func TestFetchesFollowTheLimit(t *testing.T) {
	for _, c := range []struct {
		limit          int64
		all, partition int32
	}{
		{0, 3 << 20, 1536 << 10},
		{16 << 20, 1 << 20, 128 << 10},
		{256 << 20, 2 << 20, 256 << 10},
		{1 << 30, 3 << 20, 1 << 20},
		{1 << 40, 3 << 20, 1536 << 10},
	} {
		if all, partition := fetchSizes(c.limit); all != c.all || partition != c.partition {
			t.Errorf("limit %d: fetches of %d, of a partition %d; want %d and %d", c.limit, all, partition, c.all,
				c.partition)
		}
	}
}
