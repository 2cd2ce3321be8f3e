package event

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"
)

// ID is an event's id: sixteen packed bytes for a canonical lower-case UUID, else the text itself.
// Two ids are equal (==) exactly if their texts are. The zero ID is the empty text, which no event
// has. The nil UUID is kept as text: packed it would be the zero ID.
type ID struct {
	hi, lo uint64
	text   string // empty when packed
}

const uuidText = 36

// MakeID makes the id of a text. It copies the text only if it is not a canonical lower-case UUID.
func MakeID(text []byte) ID {
	if hi, lo, ok := packUUID(text); ok {
		return ID{hi: hi, lo: lo}
	}
	return ID{text: string(text)}
}

// Compare orders ids by the bytes of their texts (COLLATE "C"): -1, 0 or 1.
func (a ID) Compare(b ID) int {
	switch {
	case a.text == "" && b.text == "": // as their texts do: digits before letters, dashes in fixed places
		if a.hi != b.hi {
			return cmp.Compare(a.hi, b.hi)
		}
		return cmp.Compare(a.lo, b.lo)
	case a.text != "" && b.text != "":
		return strings.Compare(a.text, b.text)
	}
	var x, y [uuidText]byte
	if a.text == "" {
		return compareText(a.AppendTo(x[:0]), b.text)
	}
	return -compareText(b.AppendTo(y[:0]), a.text)
}

func compareText(a []byte, b string) int {
	switch { // converted in the comparison itself: no copy
	case string(a) < b:
		return -1
	case string(a) > b:
		return 1
	}
	return 0
}

// AppendTo appends the text of the id.
func (a ID) AppendTo(dst []byte) []byte {
	switch {
	case a.text != "":
		return append(dst, a.text...)
	case a == ID{}:
		return dst
	}
	return appendUUID(dst, a.hi, a.lo)
}

// String is the text of the id.
func (a ID) String() string {
	if a.text != "" {
		return a.text
	}
	var b [uuidText]byte
	return string(a.AppendTo(b[:0]))
}

// Parts are what the id is made of: a UUID's two halves, or a text that is no UUID. They are for
// those who keep ids without a pointer; FromParts puts them together again.
func (a ID) Parts() (hi, lo uint64, text string) { return a.hi, a.lo, a.text }

// FromParts is the id of parts that Parts gave. The text is not copied.
func FromParts(hi, lo uint64, text string) ID { return ID{hi, lo, text} }

// Clone is the id with a text of its own.
func (a ID) Clone() ID {
	a.text = strings.Clone(a.text)
	return a
}

// IsZero says that the id is the empty text, which no event has.
func (a ID) IsZero() bool { return a == ID{} }

const hexDigits = "0123456789abcdef"

func appendUUID(dst []byte, hi, lo uint64) []byte {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], hi)
	binary.BigEndian.PutUint64(raw[8:], lo)
	for i, b := range raw {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

// unhex holds the value of each lower-case hex digit, and 0xff for every other byte.
var unhex = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
		if v := bytes.IndexByte([]byte(hexDigits), byte(i)); v >= 0 {
			t[i] = uint8(v)
		}
	}
	return t
}()

// uuidAt holds the place of the first digit of each of the sixteen bytes.
var uuidAt = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

func packUUID(s []byte) (hi, lo uint64, ok bool) {
	if len(s) != uuidText || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return 0, 0, false
	}
	var bad uint8
	for i := 0; i < 8; i++ {
		p := uuidAt[i] & 63
		a, b := unhex[s[p]], unhex[s[p+1]]
		bad |= a | b
		hi = hi<<8 | uint64(a)<<4&0xff | uint64(b)&0xf
		p = uuidAt[i+8] & 63
		a, b = unhex[s[p]], unhex[s[p+1]]
		bad |= a | b
		lo = lo<<8 | uint64(a)<<4&0xff | uint64(b)&0xf
	}
	return hi, lo, bad < 16 && hi|lo != 0
}
