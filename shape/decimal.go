package shape

import (
	"strconv"
	"strings"
)

// maxDigits bounds what a number may become when its exponent is written out.
const maxDigits = 1000

// Decimal returns the one spelling of a number of JSON as an exact decimal: without exponent,
// without zeros that say nothing, 0 for -0. ok is false if text is no number of JSON, or has more
// than 1000 digits.
func Decimal(text string) (canonical string, ok bool) {
	rest, negative := strings.CutPrefix(text, "-")
	mantissa, exponent := rest, 0
	if at := strings.IndexAny(rest, "eE"); at >= 0 {
		n, err := strconv.Atoi(strings.TrimPrefix(rest[at+1:], "+"))
		if err != nil || n > maxDigits || n < -maxDigits || strings.HasPrefix(rest[at+1:], "+-") {
			return "", false
		}
		mantissa, exponent = rest[:at], n
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	if !digits(whole) || len(whole) > 1 && whole[0] == '0' || point && !digits(fraction) || len(text) > maxDigits {
		return "", false
	}
	all, places := whole+fraction, len(fraction)-exponent
	switch {
	case places < 0:
		all, places = all+strings.Repeat("0", -places), 0
	case places >= len(all):
		all = strings.Repeat("0", places-len(all)+1) + all
	}
	whole, fraction = strings.TrimLeft(all[:len(all)-places], "0"), strings.TrimRight(all[len(all)-places:], "0")
	switch {
	case whole == "" && fraction == "":
		return "0", true
	case whole == "":
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative {
		whole = "-" + whole
	}
	return whole, true
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
