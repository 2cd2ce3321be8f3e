package sink

import (
	"encoding/binary"
	"io"
	"sync"

	"firstclick/join/event"
)

// copyHeader opens binary COPY data: signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// postgresEpoch is 2000-01-01 in microseconds since the Unix epoch: binary timestamps count from
// there.
const postgresEpoch = 946_684_800_000_000

// rowReader renders rows as binary COPY data while they are sent. It is used once.
type rowReader struct {
	rows         []rowRef
	fields       []byte // commitSet's
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

// appendRow appends a tuple: how many fields, and of each its length as int32, -1 for NULL, and its
// bytes. https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
func (r *rowReader) appendRow(dst []byte, row rowRef) []byte {
	fields := byte(len(columns))
	if r.ordinals {
		fields++
	}
	dst = append(dst, 0, fields)
	hasClick := row.HasClick && (len(r.withoutClick) == 0 || !r.withoutClick[row.Released])
	dst = append(dst, r.fields[row.fields.From:row.fields.To]...)
	for _, c := range columns[len(event.Columns):] {
		at, known := len(dst), true
		dst = append(dst, 0xff, 0xff, 0xff, 0xff)
		switch {
		case c.origin == ofUser:
			var name string
			name, known = r.names[row.User]
			dst = append(dst, name...)
		case c.origin == ofClick && !hasClick:
			known = false
		case c.origin == ofClick && c.kind == kindTime:
			dst = binary.BigEndian.AppendUint64(dst, uint64(row.ClickTime-postgresEpoch))
		case c.origin == ofClick:
			dst = row.Click.AppendTo(dst)
		default:
			dst = binary.BigEndian.AppendUint64(dst, uint64(row.Time-postgresEpoch))
		}
		if known {
			binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		}
	}
	if r.ordinals {
		dst = binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), uint32(row.at))
	}
	return dst
}

// appendFields appends the checkout's own columns, as they stand in a tuple.
func appendFields(dst []byte, row *event.Released) []byte {
	for i := range event.Columns { // columns begins with them
		at := len(dst)
		dst = append(dst, 0xff, 0xff, 0xff, 0xff)
		value, known := row.Column(i)
		switch {
		case !known:
			continue
		case event.Columns[i].Kind == event.KindNumber:
			dst = appendNumber(dst, value)
		default:
			dst = append(dst, value...)
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst
}
