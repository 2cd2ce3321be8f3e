package audit

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
)

// cursor walks sorted items: those of a sorter, or of some runs.
type cursor struct {
	sorter *sorter
	paths  []string
	opened bool
	at     int
	runs   runHeap
	last   *runReader
}

// all gives the items, and closes the cursor.
func (c *cursor) all() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		defer c.close()
		for {
			encoded, ok, err := c.next()
			if !ok && err == nil || !yield(encoded, err) || err != nil {
				return
			}
		}
	}
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

func (h runHeap) Len() int { return len(h) }

func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].encoded, h[j].encoded) < 0 }

func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *runHeap) Push(x any) { *h = append(*h, x.(*runReader)) }

func (h *runHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func (c *cursor) open() error {
	c.opened = true
	if c.sorter != nil {
		if err := c.sorter.finish(); err != nil {
			return err
		}
		c.paths = c.sorter.runs
	}
	for _, path := range c.paths {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open sort run: %w", err)
		}
		r := &runReader{file: f, buf: bufio.NewReaderSize(f, runBuffer)}
		c.runs = append(c.runs, r)
		if _, err := r.read(); err != nil { // no run is empty
			return err
		}
	}
	heap.Init(&c.runs)
	return nil
}

// next gives the next item; ok is false at the end. The item is valid until the next call.
func (c *cursor) next() (encoded []byte, ok bool, err error) {
	if !c.opened {
		if err := c.open(); err != nil {
			return nil, false, err
		}
	}
	if s := c.sorter; s != nil && c.at < len(s.index) {
		c.at++
		return s.item(s.index[c.at-1]), true, nil
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
