package sink

import (
	"encoding/binary"
	"io"
	"sync"

	"firstclick/join/event"
)

// copyHeader opens binary COPY data: signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// rowReader renders rows as binary COPY data straight into the buffer that is sent. It is used
// once.
type rowReader struct {
	rows         []rowRef
	names        map[int32]string
	withoutClick map[*event.Released]bool
	ordinals     bool // adds rowRef.at to each row, as an int4

	mu      sync.Mutex // the driver may still read for a moment after it has given up
	next    int
	rest    []byte // of what did not fit into the last buffer
	scratch []byte
	begun   bool
	ended   bool
}

// stop makes further reads return EOF, so that the rows' memory is not touched any more.
func (r *rowReader) stop() {
	r.mu.Lock()
	r.ended, r.rest, r.rows, r.next = true, nil, nil, 0
	r.mu.Unlock()
}

// Read fills p as far as there is something to send.
func (r *rowReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	for n < len(p) {
		if r.ended {
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}
		n += r.render(p[n:])
	}
	return n, nil
}

// render puts the next piece into p, what does not fit into rest, and returns how many bytes of p
// it filled.
func (r *rowReader) render(p []byte) int {
	var piece []byte
	switch {
	case !r.begun:
		r.begun = true
		piece = append(r.scratch[:0], copyHeader...)
	case r.next == len(r.rows):
		r.ended = true
		piece = append(r.scratch[:0], 0xff, 0xff) // trailer: field count -1
	default:
		row := r.rows[r.next]
		r.next++
		name, known := r.names[row.User]
		// Lengths of columns, field count, click id, click time, ordinal. A number takes a little more
		// than its text at most.
		const beside = 256 + 2 + 255 + 8 + 4
		if len(p) >= beside+row.Size()+len(name) {
			piece = r.appendRow(p[:0:len(p)], row, name, known)
			if len(piece) <= len(p) {
				return len(piece)
			}
		} else {
			piece = r.appendRow(r.scratch[:0], row, name, known)
		}
	}
	r.scratch = piece
	n := copy(p, piece)
	r.rest = piece[n:]
	return n
}

func (r *rowReader) appendRow(dst []byte, row rowRef, name string, known bool) []byte {
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
	if known {
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
