package window

import (
	"cmp"
	"slices"
	"unsafe"

	"firstclick/join/event"
)

// directory lists the groups of a key that has many, oldest first. The links between those groups
// are not used any more. A directory is the one thing here with a pointer: a slice header per key.
type directory struct{ groups []groupAt }

type groupAt struct{ number, ref uint32 }

const groupBytes = int64(unsafe.Sizeof(groupAt{}))

// promote gives a key a directory.
func (s *stripe) promote(e *slot) {
	var groups []groupAt
	for at := (link{&e.bucket, &e.ref}); *at.ref != 0 && *at.number >= s.dead; {
		groups = append(groups, groupAt{*at.number, *at.ref})
		r, _, _ := s.bucket(*at.number).bottom(at)
		if r[0]>>kindShift < recordFar {
			break
		}
		at = link{&r[1], &r[2]}
	}
	slices.Reverse(groups)
	var i uint32
	if n := len(s.freeDirectories); n > 0 {
		i = s.freeDirectories[n-1]
		s.freeDirectories = s.freeDirectories[:n-1]
	} else {
		i = uint32(len(s.directories))
		before := cap(s.directories)
		s.directories = append(s.directories, directory{})
		s.bytes += int64(cap(s.directories)-before) * int64(unsafe.Sizeof(directory{}))
	}
	s.directories[i].groups = groups
	s.bytes += int64(cap(groups)) * groupBytes
	e.ref = directoryFlag | i
}

// drop empties a slot and frees its directory.
func (s *stripe) drop(e *slot) {
	if e.ref&directoryFlag != 0 {
		i := e.ref &^ directoryFlag
		s.bytes -= int64(cap(s.directories[i].groups)) * groupBytes
		s.directories[i].groups = nil
		s.freeDirectories = append(s.freeDirectories, i)
		if len(s.freeDirectories) == len(s.directories) { // the last one: give the list back
			s.bytes -= int64(cap(s.directories)) * int64(unsafe.Sizeof(directory{}))
			s.directories, s.freeDirectories = nil, nil
		}
	}
	e.ref = 0
}

// search finds the first group of a bucket not before number.
func (d *directory) search(number uint32) int {
	i, _ := slices.BinarySearchFunc(d.groups, number, func(g groupAt, n uint32) int { return cmp.Compare(g.number, n) })
	return i
}

func (s *stripe) insertDirectory(e *slot, b *bucket, off uint32, id *event.ID) bool {
	d := &s.directories[e.ref&^directoryFlag]
	i := d.search(b.number)
	if i < len(d.groups) && d.groups[i].number == b.number {
		return s.insertGroup(b, link{ref: &d.groups[i].ref}, off, id)
	}
	if len(d.groups) == cap(d.groups) { // make room: leave out those that were freed, or grow
		live := d.groups[d.search(s.dead):]
		before := cap(d.groups)
		d.groups = append(make([]groupAt, 0, len(live)+len(live)/4+8), live...)
		s.bytes += int64(cap(d.groups)-before) * groupBytes
		i = d.search(b.number)
	}
	ref, _ := s.write(b, recordEnd, off, *id)
	d.groups = slices.Insert(d.groups, i, groupAt{b.number, ref})
	e.bucket = max(e.bucket, b.number)
	b.clicks++
	return true
}

func (s *stripe) firstDirectory(e *slot, number, off uint32, after *event.ID) (*bucket, uint32) {
	groups := s.directories[e.ref&^directoryFlag].groups
	for i := s.directories[e.ref&^directoryFlag].search(max(number, s.dead)); i < len(groups); i++ {
		b := s.bucket(groups[i].number)
		if b.number > number {
			off, after = 0, nil
		}
		if ref := b.least(groups[i].ref, off, after); ref != 0 {
			return b, ref
		}
	}
	return nil, 0
}
