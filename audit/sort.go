package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

const (
	defaultSortMemory = 32 << 20
	mergeWidth        = 64       // runs that are merged at a time, and so open files of a cursor
	runBuffer         = 64 << 10 // of each run that is read
	arenaStep         = 1 << 20  // up to here the arena grows by append, then to its limit at once
)

// sorter sorts items. It holds up to limit bytes; beyond that, sorted runs go to files in dir.
// First add, from any goroutine, then read as often as wanted.
type sorter struct {
	dir, name string
	limit     int
	order     order

	mu    sync.Mutex
	arena []byte
	index []sorted
	runs  []string
	made  int // run files so far, for their names
	count int64
	done  bool  // nothing is added any more
	err   error // the first
}

// sorted is where an item lies in the arena. Its first eight bytes decide most comparisons.
type sorted struct {
	prefix uint64
	at, n  uint32
}

const sortedSize = 16

func newSorter(dir, name string, limit int64, order order) *sorter {
	if limit <= 0 {
		limit = defaultSortMemory
	}
	return &sorter{dir: dir, name: name, limit: int(min(limit, 1<<31)), order: order}
}

// add copies an item. Its errors come out where items are read, and by failed.
func (s *sorter) add(x *item) {
	var room [256]byte
	s.addBytes(s.order.append(room[:0], x))
}

func (s *sorter) addBytes(encoded []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.index) > 0 && len(s.arena)+len(encoded)+sortedSize*(len(s.index)+1) > s.limit {
		s.spill()
	}
	if need := len(s.arena) + len(encoded); need > cap(s.arena) && need > arenaStep {
		// Doubling would leave as much again to the collector. Pages not written to cost nothing.
		s.arena = slices.Grow(s.arena, max(s.limit, need)-len(s.arena))
	}
	var prefix [8]byte
	copy(prefix[:], encoded)
	s.index = append(s.index, sorted{binary.BigEndian.Uint64(prefix[:]), uint32(len(s.arena)), uint32(len(encoded))})
	s.arena = append(s.arena, encoded...)
	s.count++
}

// failed is the first error so far.
func (s *sorter) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sorter) item(e sorted) []byte { return s.arena[e.at : e.at+e.n] }

func (s *sorter) sortHeld() {
	slices.SortFunc(s.index, func(a, b sorted) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		return bytes.Compare(s.item(a), s.item(b))
	})
}

// spill writes what is held as one sorted run.
func (s *sorter) spill() {
	s.sortHeld()
	s.writeRun(func(yield func([]byte, error) bool) {
		for _, e := range s.index {
			if !yield(s.item(e), nil) {
				return
			}
		}
	})
	s.arena, s.index = s.arena[:0], s.index[:0]
}

// writeRun adds a run of sorted items.
func (s *sorter) writeRun(items iter.Seq2[[]byte, error]) {
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%05d.run", s.name, s.made))
	s.made++
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		buf := bufio.NewWriterSize(f, 256<<10) // which keeps its first error for Flush
		for encoded, readErr := range items {
			var n [binary.MaxVarintLen64]byte
			_, _ = buf.Write(n[:binary.PutUvarint(n[:], uint64(len(encoded)))])
			_, _ = buf.Write(encoded)
			err = cmp.Or(err, readErr)
		}
		err = errors.Join(err, buf.Flush(), f.Close())
	}
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("write sort run: %w", err)
	}
	s.runs = append(s.runs, path)
}

// finish sorts what is left. Items that never spilled stay in memory; others are in at most
// mergeWidth runs afterwards.
func (s *sorter) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.err != nil {
		return s.err
	}
	s.done = true
	if len(s.runs) == 0 {
		s.sortHeld()
		return nil
	}
	if len(s.index) > 0 {
		s.spill()
	}
	s.arena, s.index = nil, nil
	for len(s.runs) > mergeWidth && s.err == nil {
		first := s.runs[:mergeWidth]
		s.runs = slices.Clone(s.runs[mergeWidth:])
		s.writeRun((&cursor{paths: first}).all())
		for _, path := range first {
			s.err = errors.Join(s.err, os.Remove(path))
		}
	}
	return s.err
}

// items gives the items in order. What is given is overwritten by the next one; a copy of the
// struct is not.
func (s *sorter) items() iter.Seq2[*item, error] {
	return func(yield func(*item, error) bool) {
		var x item
		for encoded, err := range s.open().all() {
			if err == nil {
				s.order.parse(encoded, &x)
			}
			if !yield(&x, err) || err != nil {
				return
			}
		}
	}
}

// open gives the encoded items in order.
func (s *sorter) open() *cursor { return &cursor{sorter: s} }

// drop frees memory and files. Nothing may be reading.
func (s *sorter) drop() error {
	var errs []error
	for _, path := range s.runs {
		errs = append(errs, os.Remove(path))
	}
	s.runs, s.arena, s.index = nil, nil, nil
	return errors.Join(errs...)
}
