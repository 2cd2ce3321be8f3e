package cdc

import (
	"encoding/binary"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	readBuffer = 64 << 10
	// maxMessage bounds the memory for one replication message. A larger row ends the stream.
	maxMessage = 64 << 20
)

// wipingReader feeds a pgproto3.Frontend, whose own buffer reads 8 KiB at a time and moves
// half-read messages about. A wipingReader reads 64 KiB, hands out the header or body of one
// message at a time, and overwrites what it has handed out. So the Frontend holds one message, in
// which the decoder overwrites all but id and name: no other value of a column stays in a buffer.
//
// A message of the protocol is a kind byte, then a length that counts itself.
// https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS
type wipingReader struct {
	from io.Reader
	buf  []byte
	r, w int
	body int      // bytes of the current message's body still to come
	head [5]byte  // the part of the next message's header that has been handed out
	n    int      // its length
	out  [][]byte // handed-out parts of the current body: the stream may end before the decoder has them
}

func newWipingReader(r io.Reader) *wipingReader {
	return &wipingReader{from: r, buf: make([]byte, readBuffer)}
}

func (f *wipingReader) frontend(w io.Writer) *pgproto3.Frontend {
	front := pgproto3.NewFrontend(f, w)
	front.SetMaxBodyLen(maxMessage)
	return front
}

// wipe overwrites what was received and not handed out as a whole message. Nothing is read after
// it.
func (f *wipingReader) wipe() {
	clear(f.buf)
	for _, part := range f.out {
		clear(part)
	}
}

// handOut records where a part of the body went.
func (f *wipingReader) handOut(part []byte) {
	f.body -= len(part)
	f.out = append(f.out, part)
	if f.body == 0 { // the message is whole: the decoder wipes it
		clear(f.out)
		f.out = f.out[:0]
	}
}

func (f *wipingReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.r == f.w {
		if f.body >= len(f.buf) { // a body larger than the buffer goes past it
			n, err := f.from.Read(p[:min(len(p), f.body)])
			f.handOut(p[:n])
			return n, err
		}
		n, err := f.from.Read(f.buf)
		f.r, f.w = 0, n
		if n == 0 {
			return 0, err
		}
		// An error that came with bytes comes again without.
	}
	want := f.body
	if want == 0 {
		want = len(f.head) - f.n
	}
	n := min(len(p), want, f.w-f.r)
	chunk := f.buf[f.r : f.r+n]
	copy(p, chunk)
	f.r += n
	if f.body > 0 {
		f.handOut(p[:n])
	} else {
		copy(f.head[f.n:], chunk)
		if f.n += n; f.n == len(f.head) {
			f.n = 0
			f.body = max(0, int(int32(binary.BigEndian.Uint32(f.head[1:])))-4)
		}
	}
	clear(chunk)
	return n, nil
}
