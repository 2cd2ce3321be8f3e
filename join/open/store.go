package open

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"firstclick/join/event"
)

// chunkOf is how many nodes, or keys, are allocated together.
const chunkOf = 256

// slab gives things by number, from 1 on.
type slab[T any] struct {
	chunks []*[chunkOf]T
	made   uint32
	free   uint32 // a list; 0: none is free
}

func (s *slab[T]) at(ref uint32) *T { return &s.chunks[ref/chunkOf][ref%chunkOf] }

// add makes one more.
func (s *slab[T]) add() uint32 {
	s.made++
	if int(s.made/chunkOf) >= len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkOf]T))
	}
	return s.made
}

func (s *slab[T]) bytes() int64 {
	return int64(len(s.chunks))*int64(unsafe.Sizeof([chunkOf]T{})) + int64(cap(s.chunks))*8
}

// nodes are listed as free by next.
type nodes struct{ slab[node] }

func (s *nodes) get() (uint32, *node) {
	ref := s.free
	if ref == 0 {
		ref = s.add()
	} else {
		s.free = s.at(ref).next
	}
	return ref, s.at(ref)
}

func (s *nodes) put(ref uint32) {
	s.at(ref).next = s.free
	s.free = ref
}

// keyEntry is a key that has open checkouts. Keys are listed as free by root.
type keyEntry struct {
	key  event.Key
	root uint32
	mark uint32 // number, from 1, of the key's waiting mark; out of date unless that mark names this key
}

// keys finds keys through an open-addressing table of their numbers.
type keys struct {
	slab[keyEntry]
	used  int
	table []uint32
}

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
	if ref == 0 {
		ref = s.add()
	} else {
		s.free = s.at(ref).root
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
		if between := gap < i && gap < home && home <= i || gap > i && (gap < home || home <= i); !between {
			s.table[gap] = s.table[i]
			gap = i
		}
	}
	s.table[gap] = 0
}

func (s *keys) bytes() int64 { return s.slab.bytes() + int64(cap(s.table))*4 }

// packedID is an ID without a pointer: a UUID's two halves, or a text's block and length.
type packedID [2]uint64

// textStore holds the texts of ids that are no UUIDs, in blocks of a multiple of 16 bytes.
type textStore struct {
	chunks [][]byte
	used   int                              // of the last chunk
	free   [event.MaxID/textUnit + 2]uint64 // by size in units: the first free block plus 1; each begins with the next
}

const (
	textUnit  = 16
	textChunk = 16384
)

func (s *textStore) block(at uint64) []byte { return s.chunks[at/textChunk][at%textChunk:] }

// store keeps an id, of at most event.MaxID bytes. It sets the flag if the id is a text.
func (s *textStore) store(id event.ID, flags *uint32, flag uint32) packedID {
	hi, lo, text := id.Parts()
	if text == "" {
		return packedID{hi, lo}
	}
	*flags |= flag
	n := len(text)
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
	if text {
		units := (id[1] + textUnit - 1) / textUnit
		binary.LittleEndian.PutUint64(s.block(id[0]), s.free[units])
		s.free[units] = id[0] + 1
	}
}

// view is an id whose text holds until it is dropped.
func (s *textStore) view(id packedID, text bool) event.ID {
	if !text {
		return event.FromParts(id[0], id[1], "")
	}
	return event.FromParts(0, 0, unsafe.String(&s.block(id[0])[0], id[1]))
}

func (s *textStore) load(id packedID, text bool) event.ID { return s.view(id, text).Clone() }

func (s *textStore) bytes() (n int64) {
	return int64(len(s.chunks))*textChunk + int64(cap(s.chunks))*24
}
