package decode

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"firstclick/join/event"
)

// quote shows at most 100 bytes of the record.
func quote(b []byte) string {
	const most = 100
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(b))
}

// bad is the error of a member that is not what it must be.
func (d *Decoder) bad(field int, reason event.Reason, want string) *event.DecodeError {
	f := d.field[field]
	if f.end == 0 {
		return refuse(reason, memberNames[field]+" is missing, want "+want)
	}
	return refuse(reason, memberNames[field]+" is "+quote(d.scan.b[f.start:f.end])+", want "+want)
}

// name is a member's name without its escapes. It holds until the next call. No name that is used
// holds a lone surrogate.
func (d *Decoder) name(raw []byte) []byte {
	from := len(d.text)
	text, _ := appendUnescaped(d.text, raw)
	d.text = text[:from]
	return text[from:]
}

// string is the text of a member, which must be a string: see bytes.
func (d *Decoder) string(field int) (span, *event.DecodeError) {
	f := d.field[field]
	f.start, f.end = f.start+1, f.end-1
	if !f.escaped {
		return f, nil
	}
	from := len(d.text)
	text, ok := appendUnescaped(d.text, d.scan.b[f.start:f.end])
	d.text = text
	if !ok {
		return span{}, d.bad(field, event.ReasonText, "a text without NUL and lone surrogates")
	}
	return d.appended(from), nil
}

// appended is what was appended to d.text.
func (d *Decoder) appended(from int) span {
	n := len(d.scan.b)
	return span{start: uint32(n + from), end: uint32(n + len(d.text))}
}

// appendUnescaped appends the text of a valid JSON string. ok is false if it holds a NUL or a lone
// surrogate.
func appendUnescaped(dst, raw []byte) (text []byte, ok bool) {
	ok = true
	for i := 0; i < len(raw); {
		if plain := bytes.IndexByte(raw[i:], '\\'); plain != 0 {
			if plain < 0 {
				plain = len(raw) - i
			}
			dst = append(dst, raw[i:i+plain]...)
			i += plain
			continue
		}
		c := raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low = hex4(raw[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					ok = false
				} else {
					i += 6
				}
			}
			ok = ok && r != 0
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, ok
}

func (d *Decoder) kind(field int) byte {
	f := d.field[field]
	if f.end == 0 {
		return 'n' // absent is as null
	}
	return d.scan.b[f.start]
}

func (d *Decoder) id(field int, reason event.Reason) (span, *event.DecodeError) {
	const want = "a string of 1 to 255 bytes"
	if d.kind(field) != '"' {
		return span{}, d.bad(field, reason, want)
	}
	text, e := d.string(field)
	if e != nil {
		return span{}, e
	}
	if n := text.end - text.start; n == 0 || n > event.MaxID {
		return span{}, d.bad(field, reason, want)
	}
	return text, nil
}

func (d *Decoder) user() (int32, *event.DecodeError) {
	f := d.field[fieldUserID]
	if d.kind(fieldUserID) == '"' {
		var e *event.DecodeError
		if f, e = d.string(fieldUserID); e != nil {
			return 0, e
		}
	}
	text := d.bytes(f)
	user, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || len(text) > 11 || text[0] == '+' {
		return 0, d.bad(fieldUserID, event.ReasonUserID, "an integer within 32 bits")
	}
	return int32(user), nil
}

// optional is the text of a member; the zero span: it is absent or null.
func (d *Decoder) optional(field int) (span, *event.DecodeError) {
	switch d.kind(field) {
	case 'n':
		return span{}, nil
	case '"':
		return d.string(field)
	}
	return span{}, d.bad(field, event.ReasonText, "a string or null")
}

// The longest text of an amount in bytes, and the bounds of its exponent.
const (
	maxAmount         = 64
	maxAmountExponent = 64
)

// number is the plain decimal of a member; the zero span: it is absent or null.
func (d *Decoder) number(field int) (span, *event.DecodeError) {
	const want = "a number, at most 64 bytes and 64 places shifted, or null"
	f := d.field[field]
	switch d.kind(field) {
	case 'n':
		return span{}, nil
	case '"':
		var e *event.DecodeError
		if f, e = d.string(field); e != nil {
			return span{}, e
		}
		s := scanner{b: d.bytes(f)}
		if len(s.b) == 0 || s.number(0) != len(s.b) {
			return span{}, d.bad(field, event.ReasonAmount, want)
		}
	case '{', '[', 't', 'f':
		return span{}, d.bad(field, event.ReasonAmount, want)
	}
	text := d.bytes(f)
	if len(text) > maxAmount {
		return span{}, d.bad(field, event.ReasonAmount, want)
	}
	for i, c := range text {
		if c|0x20 == 'e' {
			exp, err := strconv.Atoi(string(text[i+1:]))
			if err != nil || exp < -maxAmountExponent || exp > maxAmountExponent {
				return span{}, d.bad(field, event.ReasonAmount, want)
			}
			from := len(d.text)
			d.text = appendShifted(d.text, text[:i], exp)
			return d.appended(from), nil
		}
	}
	return f, nil
}

// appendShifted appends a plain decimal times ten to the exp, exactly. It keeps no leading zeros
// but one before the point, and as many digits behind the point as the exponent leaves.
func appendShifted(dst, mantissa []byte, exp int) []byte {
	if mantissa[0] == '-' {
		dst, mantissa = append(dst, '-'), mantissa[1:]
	}
	var room [maxAmount + 2*maxAmountExponent + 2]byte
	digits, whole := room[:0], len(mantissa)
	for i := 0; i < -exp; i++ {
		digits = append(digits, '0')
	}
	for i, c := range mantissa {
		if c == '.' {
			whole = i
		} else {
			digits = append(digits, c)
		}
	}
	whole += exp + max(-exp, 0)
	for len(digits) < whole {
		digits = append(digits, '0')
	}
	lead := 0
	for lead < whole-1 && digits[lead] == '0' {
		lead++
	}
	dst = append(dst, digits[lead:whole]...)
	if whole < len(digits) {
		dst = append(append(dst, '.'), digits[whole:]...)
	}
	return dst
}
