package cdc

import "encoding/binary"

// reader takes fields off a message. After the first one that is not there it gives zeros and remembers what was wrong.
type reader struct {
	b   []byte
	bad string
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) || r.bad != "" {
		if r.bad == "" {
			r.bad = "shorter than its fields"
		}
		r.b = nil
		return nil
	}
	field := r.b[:n:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// length reads an int32 that counts something; a negative one is bad.
func (r *reader) length() int32 {
	n := int32(r.uint32())
	if n < 0 {
		r.bad = "a negative length"
		return 0
	}
	return n
}

// cstring reads a string that ends with a zero byte.
func (r *reader) cstring() []byte {
	for i, c := range r.b {
		if c == 0 {
			s := r.take(i + 1)
			return s[:i:i]
		}
	}
	r.take(len(r.b) + 1)
	return nil
}
