package open

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"firstclick/join/event"
)

// chunkOf is how many nodes, or keys, are allocated together.
const chunkOf = 256

// nodes gives nodes by number, from 1 on.
type nodes struct {
	chunks []*[chunkOf]node
	made   uint32
	free   uint32 // a list by next
}

func (s *nodes) at(ref uint32) *node { return &s.chunks[ref/chunkOf][ref%chunkOf] }

func (s *nodes) take() (uint32, *node) {
	if ref := s.free; ref != 0 {
		n := s.at(ref)
		s.free = n.next
		return ref, n
	}
	s.made++
	if int(s.made/chunkOf) >= len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkOf]node))
	}
	return s.made, s.at(s.made)
}

func (s *nodes) give(ref uint32) {
	s.at(ref).next = s.free
	s.free = ref
}

func (s *nodes) bytes() int64 {
	return int64(len(s.chunks))*int64(unsafe.Sizeof([chunkOf]node{})) + int64(cap(s.chunks))*8
}

// keyEntry is a key that has recent checkouts.
type keyEntry struct {
	key  event.Key
	root uint32 // of a free one: the next free one
	mark uint32 // the open mark of the key, counted from 1, if that is still the key's
}

// keys gives keys by number, from 1 on, and finds them through an open-addressing table of numbers.
type keys struct {
	chunks []*[chunkOf]keyEntry
	made   uint32
	free   uint32
	used   int
	table  []uint32
}

func (s *keys) at(ref uint32) *keyEntry { return &s.chunks[ref/chunkOf][ref%chunkOf] }

func (s *keys) home(key event.Key) int {
	hi, _ := bits.Mul64(event.Mix(key.Hi^event.Mix(key.Lo)), uint64(len(s.table)))
	return int(hi)
}

func (s *keys) after(i int) int {
	if i++; i < len(s.table) {
		return i
	}
	return 0
}

// place finds where key is in the table, or where it would be.
func (s *keys) place(key event.Key) int {
	i := s.home(key)
	for s.table[i] != 0 && s.at(s.table[i]).key != key {
		i = s.after(i)
	}
	return i
}

func (s *keys) find(key event.Key) uint32 {
	if s.used == 0 {
		return 0
	}
	return s.table[s.place(key)]
}

// get finds a key, or makes it.
func (s *keys) get(key event.Key) uint32 {
	if s.used >= len(s.table)/4*3 {
		old := s.table
		s.table = make([]uint32, max(16, len(old)/2*3))
		for _, ref := range old {
			if ref != 0 {
				s.table[s.place(s.at(ref).key)] = ref
			}
		}
	}
	i := s.place(key)
	if s.table[i] != 0 {
		return s.table[i]
	}
	ref := s.free
	if ref != 0 {
		s.free = s.at(ref).root
	} else {
		s.made++
		ref = s.made
		if int(ref/chunkOf) >= len(s.chunks) {
			s.chunks = append(s.chunks, new([chunkOf]keyEntry))
		}
	}
	*s.at(ref) = keyEntry{key: key}
	s.table[i] = ref
	s.used++
	return ref
}

// remove takes a key out, and moves up those behind it that would not be found across the gap.
func (s *keys) remove(ref uint32) {
	gap := s.place(s.at(ref).key)
	s.at(ref).root, s.free = s.free, ref
	s.used--
	for i := s.after(gap); s.table[i] != 0; i = s.after(i) {
		home := s.home(s.at(s.table[i]).key)
		if between := (gap < i && gap < home && home <= i) || (gap > i && (gap < home || home <= i)); !between {
			s.table[gap] = s.table[i]
			gap = i
		}
	}
	s.table[gap] = 0
}

func (s *keys) bytes() int64 {
	return int64(len(s.chunks))*int64(unsafe.Sizeof([chunkOf]keyEntry{})) + int64(cap(s.chunks))*8 + int64(cap(s.table))*4
}

// packedID is an ID without a pointer: a UUID's two halves, or a text's block and length.
type packedID [2]uint64

// textStore holds the texts of ids that are no UUIDs, in blocks of a multiple of 16 bytes.
type textStore struct {
	chunks [][]byte
	used   int                              // of the last chunk
	free   [event.MaxID/textUnit + 2]uint64 // by units: the first free block plus 1; a free block begins with the next
}

const (
	textUnit  = 16
	textChunk = 16384
)

func (s *textStore) block(at uint64) []byte { return s.chunks[at/textChunk][at%textChunk:] }

func (s *textStore) store(id event.ID, flags *uint32, flag uint32) packedID {
	hi, lo, text := id.Parts()
	if text == "" {
		return packedID{hi, lo}
	}
	*flags |= flag
	n := len(text)
	if n > event.MaxID { // longer than any event has: a chunk of its own
		s.chunks = append(s.chunks, []byte(text), make([]byte, textChunk))
		s.used = 0
		return packedID{uint64(len(s.chunks)-2) * textChunk, uint64(n)}
	}
	units := (n + textUnit - 1) / textUnit
	at := s.free[units]
	if at != 0 {
		at--
		s.free[units] = binary.LittleEndian.Uint64(s.block(at))
	} else {
		if len(s.chunks) == 0 || s.used+units*textUnit > textChunk {
			s.chunks = append(s.chunks, make([]byte, textChunk))
			s.used = 0
		}
		at = uint64(len(s.chunks)-1)*textChunk + uint64(s.used)
		s.used += units * textUnit
	}
	copy(s.block(at), text)
	return packedID{at, uint64(n)}
}

func (s *textStore) drop(id packedID, text bool) {
	if text && id[1] <= event.MaxID {
		units := (id[1] + textUnit - 1) / textUnit
		binary.LittleEndian.PutUint64(s.block(id[0]), s.free[units])
		s.free[units] = id[0] + 1
	}
}

// view is an id whose text is good until the text is dropped.
func (s *textStore) view(id packedID, text bool) event.ID {
	if !text {
		return event.FromParts(id[0], id[1], "")
	}
	return event.FromParts(0, 0, unsafe.String(&s.block(id[0])[0], id[1]))
}

func (s *textStore) load(id packedID, text bool) event.ID {
	return s.view(id, text).Clone()
}

func (s *textStore) bytes() (n int64) {
	return int64(len(s.chunks))*textChunk + int64(cap(s.chunks))*24
}
