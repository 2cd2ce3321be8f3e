package window

import (
	"math/bits"
	"unsafe"

	"firstclick/join/event"
)

// bucket holds the clicks of one stripe in one bucket of event time, in words that are only
// appended to and freed together. The words lie in chunks, the first ones small (a bucket of one
// click costs 64 bytes), the others of chunkWords. A ref is the place of a record's first word,
// never 0.
//
// A record of a click is
//
//	word 0       micros since the bucket's begin, recordText, and the kind in the upper bits
//	kind words   links: recordEnd none; recordNear the next older click, in this bucket;
//	             recordFar a bucket's number and a ref, or in a tree the refs of both children
//	id           four words, or with recordText the length in bytes and the bytes
//
// A tree's header is recordTree in word 0, the number and ref of the next older group, and the ref
// of the root.
type bucket struct {
	number uint32
	used   uint32 // words, with those left over at the ends of chunks
	clicks int64
	chunks [][]uint32
}

const (
	chunkBits  = 12
	chunkWords = 1 << chunkBits
	smallBits  = 4 // the first two chunks are of this size; then each is as large as all before it
	smallLast  = chunkBits - smallBits
	maxRef     = 1<<31 - chunkWords

	timeMask   = 1<<28 - 1
	recordText = 1 << 28
	kindShift  = 29

	recordEnd  = 0
	recordNear = 1
	recordFar  = 2
	recordTree = 3

	treeWords     = 4
	bucketBytes   = int64(unsafe.Sizeof(bucket{})) + 8
	chunkOverhead = 24
)

// place finds the chunk of a ref, and where in it the ref is.
func place(ref uint32) (chunk int, at uint32) {
	switch {
	case ref >= chunkWords:
		return smallLast + int(ref>>chunkBits), ref & (chunkWords - 1)
	case ref < 1<<smallBits:
		return 0, ref
	}
	chunk = bits.Len32(ref >> smallBits)
	return chunk, ref - 1<<(smallBits-1)<<chunk
}

func chunkSize(chunk int) uint32 {
	switch {
	case chunk == 0:
		return 1 << smallBits
	case chunk <= smallLast:
		return 1 << (smallBits - 1) << chunk
	}
	return chunkWords
}

// words returns the chunk from ref on.
func (b *bucket) words(ref uint32) []uint32 {
	chunk, at := place(ref)
	return b.chunks[chunk][at:]
}

// grab makes room for n words.
func (s *stripe) grab(b *bucket, n uint32) (ref uint32, words []uint32) {
	for {
		chunk, at := place(b.used)
		size := chunkSize(chunk)
		if at+n > size { // a chunk too small for n stays nil if nothing is in it
			b.used += size - at
			continue
		}
		if b.used > maxRef {
			panic("window: more than 8 GiB of clicks in one bucket of one stripe")
		}
		for len(b.chunks) <= chunk {
			b.chunks = append(b.chunks, nil)
			s.bytes += chunkOverhead
		}
		if b.chunks[chunk] == nil {
			b.chunks[chunk] = make([]uint32, size)
			s.bytes += int64(size) * 4
		}
		ref = b.used
		b.used += n
		return ref, b.chunks[chunk][at : at+n : at+n]
	}
}

// write appends a click's record with room for kind links, which the caller fills in.
func (s *stripe) write(b *bucket, kind, off uint32, id event.ID) (ref uint32, words []uint32) {
	hi, lo, text := id.Parts()
	if text == "" {
		ref, words = s.grab(b, 1+kind+4)
		words[0] = off | kind<<kindShift
		i := words[1+kind:]
		i[0], i[1], i[2], i[3] = uint32(hi>>32), uint32(hi), uint32(lo>>32), uint32(lo)
		return ref, words
	}
	n := uint32(len(text))
	ref, words = s.grab(b, 1+kind+1+(n+3)/4)
	words[0] = off | kind<<kindShift | recordText
	words[1+kind] = n
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[2+kind])), n), text)
	return ref, words
}

// idOf is the id of a record. A text is a view of the chunk: it holds under the stripe's lock.
func idOf(r []uint32) event.ID {
	i := r[1+r[0]>>kindShift:]
	if r[0]&recordText == 0 {
		i = i[:4]
		return event.FromParts(uint64(i[0])<<32|uint64(i[1]), uint64(i[2])<<32|uint64(i[3]), "")
	}
	return event.FromParts(0, 0, unsafe.String((*byte)(unsafe.Pointer(&i[1])), i[0]))
}

// compare orders a record against a click of the same bucket.
func compare(r []uint32, off uint32, id *event.ID) int {
	switch t := r[0] & timeMask; {
	case t < off:
		return -1
	case t > off:
		return 1
	}
	return idOf(r).Compare(*id)
}
