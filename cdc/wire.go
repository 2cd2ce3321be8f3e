package cdc

import (
	"encoding/binary"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// frontendReader feeds pgproto3.Frontend, whose own buffer takes 8 KiB a read and moves half-read messages about. This one
// takes 64 KiB, hands out one message's header or body at a time, and overwrites what it has handed out. So the Frontend holds one
// message, which the decoder overwrites where it is none of our business: no column value stays behind in a buffer.
//
// Every message of the protocol is a kind byte, then a length that counts itself.
// https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS
type frontendReader struct {
	from io.Reader
	buf  []byte
	r, w int
	body int     // bytes of the current message's body still to come
	head [5]byte // of the next message, as far as it has been handed out
	n    int
	// given is where the parts of the current body went: nobody else overwrites them when the stream ends in mid message.
	given [][]byte
}

const readBuffer = 64 << 10

func newFrontendReader(r io.Reader) *frontendReader {
	return &frontendReader{from: r, buf: make([]byte, readBuffer)}
}

func (f *frontendReader) frontend(w io.Writer) *pgproto3.Frontend {
	front := pgproto3.NewFrontend(f, w)
	front.SetMaxBodyLen(maxMessage)
	return front
}

// wipe overwrites what was received and not handed out whole. Nothing is read any more.
func (f *frontendReader) wipe() {
	clear(f.buf)
	for _, part := range f.given {
		clear(part)
	}
}

// give notes where a part of the body went.
func (f *frontendReader) give(part []byte) {
	f.body -= len(part)
	f.given = append(f.given, part)
	if f.body == 0 { // the message is the decoder's
		clear(f.given)
		f.given = f.given[:0]
	}
}

// maxMessage bounds what one replication message makes us hold. A row larger than that ends the stream.
const maxMessage = 64 << 20

func (f *frontendReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.r == f.w {
		if f.body >= len(f.buf) {
			// A body larger than the buffer goes where it is wanted at once.
			n, err := f.from.Read(p[:min(len(p), f.body)])
			f.give(p[:n])
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
		f.give(p[:n])
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
