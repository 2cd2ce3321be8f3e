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

// refuseField says that a member is not what it must be.
func (d *Decoder) refuseField(field int, reason event.Reason, want string) {
	is := "missing"
	if f := d.field[field]; f.To > 0 {
		is = quote(d.bytes(f.Span))
	}
	d.refuse(reason, memberNames[field]+" is "+is+", want "+want)
}

// name is a member's name without its escapes. It holds until the next call. No name that is used
// holds a lone surrogate.
func (d *Decoder) name(raw []byte) []byte {
	from := len(d.text)
	text, _ := appendUnescaped(d.text, raw)
	d.text = text[:from]
	return text[from:]
}

// string is the text of a member, which must be a string.
func (d *Decoder) string(field int) event.Span {
	f := d.field[field]
	f.From, f.To = f.From+1, f.To-1
	if !f.escaped {
		return f.Span
	}
	from := len(d.text)
	text, ok := appendUnescaped(d.text, d.scan.b[f.From:f.To])
	d.text = text
	if !ok {
		d.refuseField(field, event.ReasonText, "a text without NUL and lone surrogates")
	}
	return d.appended(from)
}

// appended is what was appended to d.text.
func (d *Decoder) appended(from int) event.Span {
	n := len(d.scan.b)
	return event.Span{From: uint32(n + from), To: uint32(n + len(d.text))}
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

// kind is the first byte of a member's value.
func (d *Decoder) kind(field int) byte {
	if d.bad != nil || d.field[field].To == 0 {
		return 'n' // absent is as null
	}
	return d.scan.b[d.field[field].From]
}

func (d *Decoder) id(field int, reason event.Reason) event.Span {
	if d.kind(field) == '"' {
		if text := d.string(field); text.To > text.From && text.To-text.From <= event.MaxID {
			return text
		}
	}
	d.refuseField(field, reason, "a string of 1 to 255 bytes")
	return event.Span{}
}

func (d *Decoder) user() int32 {
	f := d.field[fieldUserID].Span
	if d.kind(fieldUserID) == '"' {
		f = d.string(fieldUserID)
	}
	text := d.bytes(f)
	user, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || len(text) > 11 || text[0] == '+' {
		d.refuseField(fieldUserID, event.ReasonUserID, "an integer within 32 bits")
	}
	return int32(user)
}

// optional is the text of a member; the zero Span: it is absent or null.
func (d *Decoder) optional(field int) event.Span {
	switch d.kind(field) {
	case 'n':
		return event.Span{}
	case '"':
		return d.string(field)
	}
	d.refuseField(field, event.ReasonText, "a string or null")
	return event.Span{}
}

// The longest text of an amount in bytes, and the bounds of its exponent.
const (
	maxAmount         = 64
	maxAmountExponent = 64
)

// number is the plain decimal of a member; the zero Span: it is absent or null.
func (d *Decoder) number(field int) event.Span {
	f, ok := d.field[field].Span, true
	switch d.kind(field) {
	case 'n':
		return event.Span{}
	case '"':
		f = d.string(field)
		s := scanner{b: d.bytes(f)}
		ok = len(s.b) > 0 && s.number(0) == len(s.b)
	case '{', '[', 't', 'f':
		ok = false
	}
	if text := d.bytes(f); ok && len(text) <= maxAmount {
		for i, c := range text {
			if c|0x20 == 'e' {
				exp, err := strconv.Atoi(string(text[i+1:]))
				ok = err == nil && exp >= -maxAmountExponent && exp <= maxAmountExponent
				if from := len(d.text); ok {
					d.text = appendShifted(d.text, text[:i], exp)
					return d.appended(from)
				}
				break
			}
		}
		if ok {
			return f
		}
	}
	d.refuseField(field, event.ReasonAmount, "a number, at most 64 bytes and 64 places shifted, or null")
	return event.Span{}
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
