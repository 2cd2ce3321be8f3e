package deadletters

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns text that a terminal shows and does not obey: control characters (C0, DEL and C1), what turns the direction of
// writing round or is invisible, unassigned characters and invalid UTF-8 stand as \n, \t, \xNN or \uNNNN. A backslash of
// the text's own stays as it is, so that JSON can be read: what matters by the byte is read raw.
func Printable(text []byte) string {
	var b strings.Builder
	b.Grow(len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		text = text[size:]
	}
	return b.String()
}

// PrintableLines is Printable line by line: line breaks stay.
func PrintableLines(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		whole, ended := bytes.CutSuffix(line, []byte("\n"))
		if out = append(out, Printable(whole)...); ended {
			out = append(out, '\n')
		}
	}
	return out
}

// PrintableJSON makes a JSON text, as encoding/json writes it, harmless for terminals: the same value, with the characters that
// Printable would not let through written as \u escapes. Line breaks between tokens stay.
func PrintableJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			out = append(out, text[:size]...)
		case r > 0xffff: // outside of strings there is ASCII only, so an escape is in its place
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[size:]
	}
	return out
}
