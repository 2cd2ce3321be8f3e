package audit

import "encoding/binary"

// Items of a sort are fields one after the other, encoded so that bytes.Compare orders them like the fields: texts end with a
// zero byte (no text here holds one: Postgres cannot store it and decoding refuses it), integers are big-endian with the
// sign turned.

func appendText(b []byte, s string) []byte { return append(append(b, s...), 0) }

func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)^1<<63) }

func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)^1<<31) }

// optional is a text that may be NULL.
type optional struct {
	text  string
	valid bool
}

func some(s string) optional { return optional{text: s, valid: true} }

func (o optional) String() string {
	if !o.valid {
		return "NULL"
	}
	return quote(o.text)
}

func appendOptional(b []byte, o optional) []byte {
	if !o.valid {
		return append(b, 0)
	}
	return appendText(append(b, 1), o.text)
}

// fields takes an item apart, in the order it was put together.
type fields []byte

func (f *fields) text() string {
	for i, c := range *f {
		if c == 0 {
			s := string((*f)[:i])
			*f = (*f)[i+1:]
			return s
		}
	}
	panic("audit: sort item without the end of a text")
}

func (f *fields) int64() int64 {
	v := int64(binary.BigEndian.Uint64(*f) ^ 1<<63)
	*f = (*f)[8:]
	return v
}

func (f *fields) int32() int32 {
	v := int32(binary.BigEndian.Uint32(*f) ^ 1<<31)
	*f = (*f)[4:]
	return v
}

func (f *fields) byte() byte {
	c := (*f)[0]
	*f = (*f)[1:]
	return c
}

func (f *fields) optional() optional {
	if f.byte() == 0 {
		return optional{}
	}
	return some(f.text())
}
