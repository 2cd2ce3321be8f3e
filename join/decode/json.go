package decode

import (
	"encoding/binary"
	"math/bits"

	"firstclick/join/event"
)

// maxDepth bounds nesting: deeper is ReasonJSON. It is the bound of encoding/json.
const maxDepth = 10000

// span is where a member's value lies in the input. The zero span is an absent member.
type span struct {
	event.Span
	escaped bool // a string with a backslash
}

// scanner checks JSON by RFC 8259. Its methods take where to begin, and return where the thing ends
// or -1 if it is not valid.
type scanner struct {
	b    []byte
	seen uint64 // all string bytes or-ed together, to know whether any is beyond ASCII
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str reads a string from behind its quote to behind its closing quote, eight bytes at a time.
func (s *scanner) str(i int) (end int, escaped bool) {
	b := s.b
	var seen uint64
	for {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			// Once 0x02 is flipped, control characters and the quote (0x22) are those below 0x21.
			// The lowest byte found is right: a borrow can only spoil those above it.
			slash := x ^ ones*'\\'
			stop := ((x^ones*0x02-ones*0x21)&^x | (slash-ones)&^slash) & highs
			if stop == 0 {
				seen |= x
				i += 8
				continue
			}
			n := bits.TrailingZeros64(stop) &^ 7
			seen |= x & (1<<n - 1)
			i += n >> 3
			break
		}
		for i < len(b) && b[i] >= 0x20 && b[i] != '"' && b[i] != '\\' { // at a stop, or in the last seven bytes
			seen |= uint64(b[i])
			i++
		}
		if i >= len(b) || b[i] < 0x20 {
			return -1, false
		}
		if b[i] == '"' {
			seen |= seen >> 32
			seen |= seen >> 16
			s.seen |= (seen | seen>>8) & 0xff
			return i + 1, escaped
		}
		if i = s.escape(i + 1); i < 0 {
			return -1, false
		}
		escaped = true
	}
}

// escape reads an escape from behind its backslash.
func (s *scanner) escape(i int) int {
	if i >= len(s.b) {
		return -1
	}
	switch s.b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+5 <= len(s.b) && hex4(s.b[i+1:i+5]) >= 0 {
			return i + 5
		}
	}
	return -1
}

// hex4 is the value of four hex digits of either case, or -1.
func hex4(b []byte) rune {
	var v rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		v = v<<4 | rune(c)
	}
	return v
}

func (s *scanner) space(i int) int {
	for i < len(s.b) && (s.b[i] == ' ' || s.b[i] == '\n' || s.b[i] == '\r' || s.b[i] == '\t') {
		i++
	}
	return i
}

func (s *scanner) literal(i int, word string) int {
	if len(s.b)-i < len(word) || string(s.b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// number reads a number: no plus, no leading zeros, digits on both sides of the point.
func (s *scanner) number(i int) int {
	b := s.b
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	if i = s.digits(i); i < 0 || b[first] == '0' && i > first+1 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits reads one or more digits.
func (s *scanner) digits(i int) int {
	from := i
	for i < len(s.b) && s.b[i]-'0' <= 9 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// value reads any value after space, at a depth. It recurses: maxDepth levels take about a megabyte
// of stack.
func (s *scanner) value(i, depth int) int {
	i = s.space(i)
	if i >= len(s.b) {
		return -1
	}
	switch s.b[i] {
	case '"':
		i, _ = s.str(i + 1)
		return i
	case '{', '[':
		return s.nested(i, depth+1)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	}
	return s.number(i)
}

// nested reads an object or an array.
func (s *scanner) nested(i, depth int) int {
	object := s.b[i] == '{'
	closing := s.b[i] + 2 // ASCII: { and }, [ and ]
	if depth > maxDepth {
		return -1
	}
	if i = s.space(i + 1); i < len(s.b) && s.b[i] == closing {
		return i + 1
	}
	for {
		if object {
			if i = s.name(i); i < 0 {
				return -1
			}
		}
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		if i = s.space(i); i >= len(s.b) {
			return -1
		}
		switch s.b[i] {
		case closing:
			return i + 1
		case ',':
			i = s.space(i + 1)
		default:
			return -1
		}
	}
}

// name reads a member's name and its colon.
func (s *scanner) name(i int) int {
	if i >= len(s.b) || s.b[i] != '"' {
		return -1
	}
	if i, _ = s.str(i + 1); i < 0 {
		return -1
	}
	if i = s.space(i); i >= len(s.b) || s.b[i] != ':' {
		return -1
	}
	return i + 1
}
