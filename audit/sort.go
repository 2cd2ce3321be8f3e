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
	"os"
	"path/filepath"
	"slices"
)

const (
	defaultSortMemory = 32 << 20
	mergeWidth        = 64       // runs merged at a time, and so open files a cursor
	runBuffer         = 64 << 10 // of each run that is read
	arenaStep         = 1 << 20  // up to here the arena grows as it likes, then to its limit at once
)

// sorter sorts byte strings by bytes.Compare. Up to limit bytes are held; beyond that sorted runs go to files in dir.
// First Add, then Finish once, then Open as often as wanted. Not safe for concurrent use, but cursors are independent.
type sorter struct {
	dir   string
	name  string
	limit int

	arena []byte
	index []sorted
	runs  []string
	made  int // run files so far, for their names
	count int64
}

// sorted is where an item lies in the arena. The first eight bytes decide most comparisons without going there.
type sorted struct {
	prefix uint64
	at, n  uint32
}

const sortedSize = 16

func newSorter(dir, name string, limit int64) *sorter {
	if limit <= 0 {
		limit = defaultSortMemory
	}
	return &sorter{dir: dir, name: name, limit: int(min(limit, 1<<31))}
}

func prefixOf(item []byte) uint64 {
	if len(item) >= 8 {
		return binary.BigEndian.Uint64(item)
	}
	var padded [8]byte
	copy(padded[:], item)
	return binary.BigEndian.Uint64(padded[:])
}

// Add copies the item.
func (s *sorter) Add(item []byte) error {
	if len(s.index) > 0 && len(s.arena)+len(item)+sortedSize*(len(s.index)+1) > s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if need := len(s.arena) + len(item); need > cap(s.arena) && need > arenaStep {
		// Growing by doubling would leave as much again to the garbage collector. Pages that are not written to cost nothing.
		s.arena = slices.Grow(s.arena, max(s.limit, need)-len(s.arena))
	}
	s.index = append(s.index, sorted{prefix: prefixOf(item), at: uint32(len(s.arena)), n: uint32(len(item))})
	s.arena = append(s.arena, item...)
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
	w, err := s.newRun()
	if err != nil {
		return err
	}
	for _, e := range s.index {
		w.write(s.item(e))
	}
	if err := w.close(); err != nil {
		return err
	}
	s.runs = append(s.runs, w.path)
	s.arena, s.index = s.arena[:0], s.index[:0]
	return nil
}

// Finish sorts what is left. Few items stay in memory, more are in at most mergeWidth runs afterwards.
func (s *sorter) Finish() error {
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
		if err := s.mergeRuns(); err != nil {
			return err
		}
	}
	return nil
}

// mergeRuns makes one run of the first mergeWidth ones.
func (s *sorter) mergeRuns() error {
	first := s.runs[:mergeWidth]
	c, err := openRuns(first)
	if err != nil {
		return err
	}
	defer c.Close()
	w, err := s.newRun()
	if err != nil {
		return err
	}
	for {
		item, ok, err := c.Next()
		if err != nil {
			return errors.Join(err, w.close())
		}
		if !ok {
			break
		}
		w.write(item)
	}
	if err := w.close(); err != nil {
		return err
	}
	for _, path := range first {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove merged run: %w", err)
		}
	}
	s.runs = append(slices.Clone(s.runs[mergeWidth:]), w.path)
	return nil
}

// Open gives the items in order. Finish must have been called.
func (s *sorter) Open() (*cursor, error) {
	if len(s.runs) == 0 {
		return &cursor{held: s}, nil
	}
	return openRuns(s.runs)
}

// Drop frees memory and files. Cursors must be closed.
func (s *sorter) Drop() error {
	var errs []error
	for _, path := range s.runs {
		errs = append(errs, os.Remove(path))
	}
	s.runs, s.arena, s.index = nil, nil, nil
	return errors.Join(errs...)
}

type runWriter struct {
	path string
	file *os.File
	buf  *bufio.Writer
	err  error
}

func (s *sorter) newRun() (*runWriter, error) {
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%05d.run", s.name, s.made))
	s.made++
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create sort run: %w", err)
	}
	return &runWriter{path: path, file: f, buf: bufio.NewWriterSize(f, 256<<10)}, nil
}

func (w *runWriter) write(item []byte) {
	if w.err != nil {
		return
	}
	var n [binary.MaxVarintLen64]byte
	if _, w.err = w.buf.Write(n[:binary.PutUvarint(n[:], uint64(len(item)))]); w.err == nil {
		_, w.err = w.buf.Write(item)
	}
}

func (w *runWriter) close() error {
	if err := errors.Join(w.err, w.buf.Flush(), w.file.Close()); err != nil {
		return fmt.Errorf("write sort run: %w", err)
	}
	return nil
}

// cursor walks sorted items. What Next gives is valid until the next call.
type cursor struct {
	held *sorter // items in memory, or
	next int
	runs runHeap // runs on disk
	last *runReader
}

type runReader struct {
	file *os.File
	buf  *bufio.Reader
	item []byte
}

// read moves on; false at the end.
func (r *runReader) read() (bool, error) {
	n, err := binary.ReadUvarint(r.buf)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read sort run: %w", err)
	}
	r.item = slices.Grow(r.item[:0], int(n))[:n]
	if _, err := io.ReadFull(r.buf, r.item); err != nil {
		return false, fmt.Errorf("read sort run: %w", err)
	}
	return true, nil
}

type runHeap []*runReader

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].item, h[j].item) < 0 }
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
			c.Close()
			return nil, fmt.Errorf("open sort run: %w", err)
		}
		r := &runReader{file: f, buf: bufio.NewReaderSize(f, runBuffer)}
		c.runs = append(c.runs, r)
		if ok, err := r.read(); err != nil {
			c.Close()
			return nil, err
		} else if !ok {
			c.runs = c.runs[:len(c.runs)-1]
			_ = f.Close() // only read from
		}
	}
	heap.Init(&c.runs)
	return c, nil
}

// Next gives the next item in order; ok is false at the end.
func (c *cursor) Next() (item []byte, ok bool, err error) {
	if c.held != nil {
		if c.next >= len(c.held.index) {
			return nil, false, nil
		}
		c.next++
		return c.held.item(c.held.index[c.next-1]), true, nil
	}
	if c.last != nil { // its item was given out: only now it may go
		more, err := c.last.read()
		switch {
		case err != nil:
			return nil, false, err
		case more:
			heap.Fix(&c.runs, 0)
		default:
			_ = c.last.file.Close() // only read from
			heap.Pop(&c.runs)
		}
		c.last = nil
	}
	if len(c.runs) == 0 {
		return nil, false, nil
	}
	c.last = c.runs[0]
	return c.last.item, true, nil
}

// Close frees the files. It may be called at any time, and twice.
func (c *cursor) Close() {
	for _, r := range c.runs {
		_ = r.file.Close() // only read from
	}
	c.runs, c.last, c.held = nil, nil, &sorter{}
}
