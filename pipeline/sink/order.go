package sink

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// orderRows merges the rows of all batches.
func (w *work) orderRows(n int) {
	if n == 0 {
		return
	}
	keys := make([]sortKey, 0, n)
	w.users = make([]int32, 0, n)
	for _, b := range w.batches {
		for j := range b.Rows {
			keys = append(keys, sortKey{prefix(ownID(b.Rows[j].Own)), int32(len(keys))})
			w.users = append(w.users, b.Rows[j].User)
		}
	}
	w.rows = make([]entry, n)
	for i, k := range sortByPrefix(keys) {
		batch, index := int32(0), k.at
		for int(index) >= len(w.batches[batch].Rows) { // there are few
			index -= int32(len(w.batches[batch].Rows))
			batch++
		}
		w.rows[i] = entry{prefix: k.prefix, row: &w.batches[batch].Rows[index], batch: batch, index: index}
	}
	w.orderEqual()
	slices.Sort(w.users)
	w.users = slices.Compact(w.users)
}

// orderEqual puts in order what begins with the same eight bytes.
func (w *work) orderEqual() {
	for from := 0; from < len(w.rows); {
		to := from + 1
		for to < len(w.rows) && w.rows[to].prefix == w.rows[from].prefix {
			to++
		}
		if equal := w.rows[from:to]; len(equal) > 1 {
			slices.SortFunc(equal, func(a, b entry) int {
				if c := bytes.Compare(ownID(a.row.Own), ownID(b.row.Own)); c != 0 {
					return c
				}
				return cmp.Or(cmp.Compare(a.batch, b.batch), cmp.Compare(a.row.Offset, b.row.Offset))
			})
			for i := 1; i < len(equal) && !w.repeats; i++ {
				w.repeats = sameID(equal[i-1], equal[i])
			}
		}
		from = to
	}
}

// sortKey is what is moved while rows are put in order: without a pointer, which the collector would have to be told of.
type sortKey struct {
	prefix uint64
	at     int32 // counted through all batches
}

// fewKeys are sorted by comparing.
const fewKeys = 256

// sortByPrefix sorts keys, which it uses up: byte by byte from the last one, leaving out bytes that all have in common. The ids of a large
// transaction are mostly random, and comparing them two by two is mostly guessing wrong.
func sortByPrefix(keys []sortKey) []sortKey {
	if len(keys) < fewKeys {
		slices.SortFunc(keys, func(a, b sortKey) int { return cmp.Compare(a.prefix, b.prefix) })
		return keys
	}
	var differ uint64
	for i := range keys {
		differ |= keys[i].prefix ^ keys[0].prefix
	}
	other := make([]sortKey, len(keys))
	for shift := 0; shift < 64; shift += 8 {
		if differ>>shift&0xff == 0 {
			continue
		}
		var at [256]int
		for i := range keys {
			at[keys[i].prefix>>shift&0xff]++
		}
		sum := 0
		for b, n := range at {
			at[b], sum = sum, sum+n
		}
		for _, k := range keys {
			b := k.prefix >> shift & 0xff
			other[at[b]] = k
			at[b]++
		}
		keys, other = other, keys
	}
	return keys
}

// prefix is ordered as the bytes of id are; a shorter id is filled up with NUL, which no id holds.
func prefix(id []byte) uint64 {
	if len(id) >= 8 {
		return binary.BigEndian.Uint64(id)
	}
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

func sameID(a, b entry) bool {
	return a.prefix == b.prefix && bytes.Equal(ownID(a.row.Own), ownID(b.row.Own))
}
