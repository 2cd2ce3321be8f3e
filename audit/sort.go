package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// sorter sorts items. It holds up to limit bytes; beyond that, sorted runs go to files in dir. First
// add, from any goroutine, then read as often as wanted.
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
	done  bool // nothing is added any more
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

func (s *sorter) add(x *item) error {
	var room [256]byte
	return s.addBytes(s.order.append(room[:0], x))
}

// addBytes copies an encoded item.
func (s *sorter) addBytes(encoded []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.index) > 0 && len(s.arena)+len(encoded)+sortedSize*(len(s.index)+1) > s.limit {
		if err := s.spill(); err != nil {
			return err
		}
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
	return nil
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
func (s *sorter) spill() error {
	s.sortHeld()
	err := s.writeRun(func(write func([]byte)) error {
		for _, e := range s.index {
			write(s.item(e))
		}
		return nil
	})
	s.arena, s.index = s.arena[:0], s.index[:0]
	return err
}

// writeRun adds a run of the sorted items that fill writes.
func (s *sorter) writeRun(fill func(write func([]byte)) error) error {
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%05d.run", s.name, s.made))
	s.made++
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create sort run: %w", err)
	}
	buf := bufio.NewWriterSize(f, 256<<10) // which keeps its first error for Flush
	err = fill(func(encoded []byte) {
		var n [binary.MaxVarintLen64]byte
		_, _ = buf.Write(n[:binary.PutUvarint(n[:], uint64(len(encoded)))])
		_, _ = buf.Write(encoded)
	})
	if err := errors.Join(err, buf.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write sort run: %w", err)
	}
	s.runs = append(s.runs, path)
	return nil
}

// finish sorts what is left. Items that never spilled stay in memory; others are in at most
// mergeWidth runs afterwards.
func (s *sorter) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	s.done = true
	if len(s.runs) == 0 {
		s.sortHeld()
		return nil
	}
	if len(s.index) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.arena, s.index = nil, nil
	for len(s.runs) > mergeWidth {
		first := s.runs[:mergeWidth]
		s.runs = slices.Clone(s.runs[mergeWidth:])
		if err := s.merge(first); err != nil {
			return err
		}
	}
	return nil
}

// merge makes one run of several.
func (s *sorter) merge(paths []string) error {
	c, err := openRuns(paths)
	if err != nil {
		return err
	}
	defer c.close()
	err = s.writeRun(func(write func([]byte)) error {
		for {
			encoded, ok, err := c.next()
			if err != nil || !ok {
				return err
			}
			write(encoded)
		}
	})
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// items gives the items in order. What is given is overwritten by the next one; a copy of the
// struct is not.
func (s *sorter) items() iter.Seq2[*item, error] {
	return func(yield func(*item, error) bool) {
		c, err := s.open()
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.close()
		var x item
		for {
			encoded, ok, err := c.next()
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				return
			}
			if s.order.parse(encoded, &x); !yield(&x, nil) {
				return
			}
		}
	}
}

// open gives the encoded items in order.
func (s *sorter) open() (*cursor, error) {
	if err := s.finish(); err != nil {
		return nil, err
	}
	if len(s.runs) == 0 {
		return &cursor{held: s}, nil
	}
	return openRuns(s.runs)
}

// drop frees memory and files. Nothing may be reading.
func (s *sorter) drop() error {
	var errs []error
	for _, path := range s.runs {
		errs = append(errs, os.Remove(path))
	}
	s.runs, s.arena, s.index = nil, nil, nil
	return errors.Join(errs...)
}

// cursor walks sorted items.
type cursor struct {
	held *sorter // items in memory, or
	at   int
	runs runHeap // runs on disk
	last *runReader
}

type runReader struct {
	file    *os.File
	buf     *bufio.Reader
	encoded []byte
}

// read moves on; false at the end.
func (r *runReader) read() (bool, error) {
	n, err := binary.ReadUvarint(r.buf)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err == nil {
		r.encoded = slices.Grow(r.encoded[:0], int(n))[:n]
		_, err = io.ReadFull(r.buf, r.encoded)
	}
	if err != nil {
		return false, fmt.Errorf("read sort run: %w", err)
	}
	return true, nil
}

type runHeap []*runReader

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].encoded, h[j].encoded) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*runReader)) }
func (h *runHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func openRuns(paths []string) (*cursor, error) {
	c := &cursor{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("open sort run: %w", err)
		}
		r := &runReader{file: f, buf: bufio.NewReaderSize(f, runBuffer)}
		c.runs = append(c.runs, r)
		if _, err := r.read(); err != nil { // no run is empty
			c.close()
			return nil, err
		}
	}
	heap.Init(&c.runs)
	return c, nil
}

// next gives the next item; ok is false at the end. The item is valid until the next call.
func (c *cursor) next() (encoded []byte, ok bool, err error) {
	if c.held != nil {
		if c.at >= len(c.held.index) {
			return nil, false, nil
		}
		c.at++
		return c.held.item(c.held.index[c.at-1]), true, nil
	}
	if c.last != nil { // only now may its item be overwritten
		more, err := c.last.read()
		switch {
		case err != nil:
			return nil, false, err
		case more:
			heap.Fix(&c.runs, 0)
		default:
			c.last.file.Close()
			heap.Pop(&c.runs)
		}
		c.last = nil
	}
	if len(c.runs) == 0 {
		return nil, false, nil
	}
	c.last = c.runs[0]
	return c.last.encoded, true, nil
}

// close frees the files. It may be called at any time.
func (c *cursor) close() {
	for _, r := range c.runs {
		r.file.Close()
	}
}
