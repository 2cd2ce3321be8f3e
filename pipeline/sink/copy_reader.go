package sink

import (
	"encoding/binary"
	"io"
	"sync"

	"firstclick/join/event"
)

// copyHeader opens binary COPY data: signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// rowReader renders rows as binary COPY data while they are sent. It is used once.
type rowReader struct {
	rows         []rowRef
	names        map[int32]string
	withoutClick map[*event.Released]bool
	ordinals     bool // adds rowRef.at to each row, as an int4

	mu    sync.Mutex // the driver may still read for a moment after it has given up
	next  int        // of the rows
	piece []byte
	rest  []byte // of the piece: not read yet
	begun bool
	ended bool
}

// stop makes further reads return EOF, so that the rows' memory is not touched any more.
func (r *rowReader) stop() {
	r.mu.Lock()
	r.ended, r.rest, r.rows = true, nil, nil
	r.mu.Unlock()
}

// Read fills p as far as there is something to send.
func (r *rowReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		if len(r.rest) == 0 && !r.render() {
			break
		}
		copied := copy(p[n:], r.rest)
		n, r.rest = n+copied, r.rest[copied:]
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// render makes the next piece: the header, some rows, or the trailer. It is false at the end.
func (r *rowReader) render() bool {
	const enough = 4 << 10
	r.piece = r.piece[:0]
	switch {
	case r.ended:
		return false
	case !r.begun:
		r.begun = true
		r.piece = append(r.piece, copyHeader...)
	case r.next == len(r.rows):
		r.ended = true
		r.piece = append(r.piece, 0xff, 0xff) // a field count of -1
	}
	for ; r.next < len(r.rows) && len(r.piece) < enough; r.next++ {
		r.piece = r.appendRow(r.piece, r.rows[r.next])
	}
	r.rest = r.piece
	return true
}

// appendRow appends the columns of a row, in the order of columns.
func (r *rowReader) appendRow(dst []byte, row rowRef) []byte {
	fields := byte(len(columns))
	if r.ordinals {
		fields++
	}
	dst = append(dst, 0, fields)
	dst = appendOwn(dst, row.Checkout)
	if row.HasClick && (len(r.withoutClick) == 0 || !r.withoutClick[row.Released]) {
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		dst = row.Click.AppendTo(dst)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		dst = appendTimestamp(dst, row.ClickTime)
	} else {
		dst = appendNull(appendNull(dst))
	}
	if name, known := r.names[row.User]; known {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(name)))
		dst = append(dst, name...)
	} else {
		dst = appendNull(dst)
	}
	if r.ordinals {
		dst = append(dst, 0, 0, 0, 4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(row.at))
	}
	return dst
}
