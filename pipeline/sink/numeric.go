package sink

import (
	"bytes"
	"encoding/binary"
)

// appendNumber appends a plain decimal ([-]digits[.digits]) as a numeric: int16 count of base-10000
// digits, weight of the first, sign, decimal places shown, digits (numeric_send in
// src/backend/utils/adt/numeric.c). Exact: no digit is lost here; the column's scale rounds in
// Postgres.
func appendNumber(dst, text []byte) []byte {
	const negative = 0x4000
	var sign uint16
	if len(text) > 0 && text[0] == '-' {
		sign, text = negative, text[1:]
	}
	whole, fraction, _ := bytes.Cut(text, []byte("."))
	groups := (len(whole) + 3) / 4
	weight := groups - 1
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	digits := at + 8
	// Whole part: groups of four, counted from the point to the left; the first may be shorter.
	for i := 0; i < len(whole); {
		n := (len(whole)-i-1)%4 + 1
		dst = binary.BigEndian.AppendUint16(dst, group(whole[i:i+n], n))
		i += n
	}
	// Fraction: groups of four from the point to the right; the last is filled up with zeros.
	for i := 0; i < len(fraction); i += 4 {
		n := min(4, len(fraction)-i)
		dst = binary.BigEndian.AppendUint16(dst, group(fraction[i:i+n], 4))
	}
	// Zero groups at both ends carry nothing.
	for len(dst) > digits && dst[len(dst)-1] == 0 && dst[len(dst)-2] == 0 {
		dst = dst[:len(dst)-2]
	}
	lead := digits
	for lead < len(dst) && dst[lead] == 0 && dst[lead+1] == 0 {
		lead += 2
		weight--
	}
	dst = append(dst[:digits], dst[lead:]...)
	if len(dst) == digits { // zero has no digits and no sign
		weight, sign = 0, 0
	}
	binary.BigEndian.PutUint16(dst[at:], uint16((len(dst)-digits)/2))
	binary.BigEndian.PutUint16(dst[at+2:], uint16(int16(weight)))
	binary.BigEndian.PutUint16(dst[at+4:], sign)
	binary.BigEndian.PutUint16(dst[at+6:], uint16(len(fraction)))
	return dst
}

// group is the value of up to four decimal digits, filled up on the right to width digits.
func group(digits []byte, width int) uint16 {
	var v uint16
	for _, c := range digits {
		v = v*10 + uint16(c-'0')
	}
	for range width - len(digits) {
		v *= 10
	}
	return v
}
