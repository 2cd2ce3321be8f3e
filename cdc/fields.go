package cdc

import (
	"bytes"
	"encoding/binary"
)

// fields reads the fields of a message in order. At the first one that is not there it sets
// problem, and gives zeros from then on.
type fields struct {
	b       []byte
	problem string
}

func (f *fields) next(n int) []byte {
	if n < 0 || n > len(f.b) || f.problem != "" {
		if f.problem == "" {
			f.problem = "shorter than its fields"
		}
		f.b = nil
		return nil
	}
	field := f.b[:n:n]
	f.b = f.b[n:]
	return field
}

func (f *fields) byte() byte {
	if b := f.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if b := f.next(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if b := f.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// length reads an int32 that counts something.
func (f *fields) length() int {
	n := int32(f.uint32())
	if n < 0 {
		f.problem = "a negative length"
		return 0
	}
	return int(n)
}

// text reads a string that ends with a zero byte.
func (f *fields) text() []byte {
	n := bytes.IndexByte(f.b, 0)
	if n < 0 {
		n = len(f.b) // the field is not there
	}
	s := f.next(n + 1)
	return s[:max(0, len(s)-1)]
}
