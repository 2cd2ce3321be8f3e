package window

import (
	"math/bits"
	"unsafe"

	"firstclick/join/event"
)

// slot is what the index knows of a key: its newest group, or with directoryFlag in ref its
// directory. A slot with ref 0 is empty. A slot whose bucket was freed is dead, and may be reused.
type slot struct {
	key    event.Key
	bucket uint32 // number of the key's newest bucket
	ref    uint32
}

const (
	directoryFlag = 1 << 31
	slotBytes     = int64(unsafe.Sizeof(slot{}))
)

// index is an open-addressing table in which the slots stand in the order of their keys: a key's
// place is its upper half scaled to the size of the table, or behind it up to the first empty slot.
// Order makes a miss as cheap as a hit, so the table may be full to 7/8. Growing is one pass over
// both tables, so it may grow by small steps.
type index struct {
	slots []slot
	size  int // places that keys are scaled to; a few slots more are behind them
	used  int // slots not empty, dead ones counted
}

func (x *index) place(key event.Key) int {
	hi, _ := bits.Mul64(key.Hi, uint64(x.size))
	return int(hi)
}

func less(a, b event.Key) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// find returns the slot of key, or nil.
func (x *index) find(key event.Key) *slot {
	if x.size == 0 {
		return nil
	}
	for i := x.place(key); i < len(x.slots); i++ {
		e := &x.slots[i]
		if e.key == key && e.ref != 0 {
			return e
		}
		if e.ref == 0 || less(key, e.key) {
			return nil
		}
	}
	return nil
}

// slotFor returns the slot of key, a new one with ref 0 if it had none. It holds until the next
// call.
func (s *stripe) slotFor(key event.Key) *slot {
	x := &s.index
	for {
		if x.used >= x.size-x.size/8 {
			s.rebuild(1) // dead slots count too: it may be those that fill the table
		}
		i := x.place(key)
		for i < len(x.slots) && x.slots[i].ref != 0 && less(x.slots[i].key, key) {
			i++
		}
		if i < len(x.slots) && x.slots[i].ref != 0 && x.slots[i].key == key {
			return &x.slots[i]
		}
		j := i
		for j < len(x.slots) && x.slots[j].ref != 0 && x.slots[j].bucket >= s.dead {
			j++
		}
		if j == len(x.slots) { // the rare long run at the end
			s.rebuild(x.size + x.size/8)
			continue
		}
		if x.slots[j].ref == 0 {
			x.used++
		} else {
			s.drop(&x.slots[j])
		}
		copy(x.slots[i+1:j+1], x.slots[i:j])
		x.slots[i] = slot{key: key}
		return &x.slots[i]
	}
}

// rebuild writes the table anew without its dead slots, as large as the live ones need, and no
// smaller than least.
func (s *stripe) rebuild(least int) {
	x := &s.index
	live := 0
	for i := range x.slots {
		if x.slots[i].ref != 0 && x.slots[i].bucket >= s.dead {
			live++
		}
	}
	if live == 0 && least == 0 {
		for i := range x.slots {
			s.drop(&x.slots[i])
		}
		s.bytes -= int64(len(x.slots)) * slotBytes
		*x = index{}
		return
	}
	for size := max(16, live+live*2/5, least); ; size += size / 8 {
		old := *x
		if s.refill(&old, size) {
			s.bytes += int64(len(x.slots)-len(old.slots)) * slotBytes
			for i := range old.slots {
				if old.slots[i].bucket < s.dead {
					s.drop(&old.slots[i])
				}
			}
			return
		}
	}
}

// refill copies the live slots into a new table. false: a run at the end does not fit.
func (s *stripe) refill(old *index, size int) bool {
	x := index{slots: make([]slot, size+16+min(size/8, 240)), size: size}
	at := 0
	for i := range old.slots {
		e := &old.slots[i]
		if e.ref == 0 || e.bucket < s.dead {
			continue
		}
		if at = max(at, x.place(e.key)); at == len(x.slots) {
			return false
		}
		x.slots[at] = *e
		at++
		x.used++
	}
	s.index = x
	return true
}
