package audit

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// parseTime reads YYYY-MM-DD HH:MM[:SS[.f+]] with a blank or T in the middle, a point or comma before the fraction, and optionally Z, z or
// ±HH[[:]MM] behind: microseconds
// since the Unix epoch, further digits dropped. Without a zone it is a wall clock's time in zone, by time.Date's rule where the
// clock was changed.
func parseTime(s string, zone *time.Location) (int64, bool) {
	if short := len("dddd-dd-dd dd:dd"); len(s) >= short && (len(s) == short || s[short] != ':') {
		s = s[:short] + ":00" + s[short:]
		if len(s) > short+3 && strings.ContainsAny(s[short+3:short+4], ".,") {
			return 0, false // a fraction of a minute
		}
	}
	const shape = "dddd-dd-dd dd:dd:dd"
	if len(s) < len(shape) {
		return 0, false
	}
	for i := range len(shape) {
		switch c := s[i]; shape[i] {
		case 'd':
			if c < '0' || c > '9' {
				return 0, false
			}
		case ' ':
			if c != ' ' && c != 'T' {
				return 0, false
			}
		default:
			if c != shape[i] {
				return 0, false
			}
		}
	}
	number := func(from, to int) int {
		n, _ := strconv.Atoi(s[from:to]) // digits, as just seen
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	// A day that the calendar does not have comes back as another one.
	if d := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC); d.Year() != year || int(d.Month()) != month || d.Day() != day {
		return 0, false
	}
	rest := s[len(shape):]
	micros, rest, ok := parseFraction(rest)
	if !ok {
		return 0, false
	}
	if zone, ok = parseZone(rest, zone); !ok {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, zone)
	if y := t.UTC().Year(); y < 1970 || y > 9999 {
		return 0, false
	}
	return t.Unix()*1_000_000 + micros, true
}

// parseFraction reads .f or ,f with 1 to 9 digits, if there is a point or comma.
func parseFraction(s string) (micros int64, rest string, ok bool) {
	if !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, ",") {
		return 0, s, true
	}
	rest = strings.TrimLeft(s[1:], "0123456789")
	digits := s[1 : len(s)-len(rest)]
	if len(digits) < 1 || len(digits) > 9 {
		return 0, "", false
	}
	micros, err := strconv.ParseInt((digits + "00000")[:6], 10, 64)
	return micros, rest, err == nil
}

func parseZone(s string, zone *time.Location) (*time.Location, bool) {
	switch {
	case s == "":
		return zone, true
	case s == "Z", s == "z":
		return time.UTC, true
	case s[0] != '+' && s[0] != '-':
		return nil, false
	}
	switch len(s) {
	case len("+HH"):
		s += ":00"
	case len("+HHMM"):
		s = s[:3] + ":" + s[3:]
	}
	if len(s) != len("+HH:MM") || s[3] != ':' {
		return nil, false
	}
	hours, err := strconv.ParseUint(s[1:3], 10, 8)
	if err != nil || hours > 23 {
		return nil, false
	}
	minutes, err := strconv.ParseUint(s[4:6], 10, 8)
	if err != nil || minutes > 59 {
		return nil, false
	}
	seconds := int(hours*60+minutes) * 60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), true
}

// decodeAmount takes a JSON number, or a string that holds one, as it is written. NULL or absent is no amount.
func decodeAmount(raw json.RawMessage) (amount optional, reason string) {
	if isNull(raw) {
		return optional{}, ""
	}
	text := string(raw)
	if s, isString, clean := decodeString(raw); isString {
		if !clean {
			return optional{}, reasonText
		}
		text = s
	}
	if len(text) > maxAmount || !isNumber(text) {
		return optional{}, reasonAmount
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exp, err := strconv.Atoi(text[i+1:])
		if err != nil || exp < -maxExp || exp > maxExp {
			return optional{}, reasonAmount
		}
	}
	return some(text), ""
}

// isNumber says whether the whole text is one JSON number.
func isNumber(s string) bool {
	if s == "" || (s[0] != '-' && (s[0] < '0' || s[0] > '9')) {
		return false
	}
	last := s[len(s)-1]
	return last >= '0' && last <= '9' && json.Valid([]byte(s)) // no blanks around, and then valid JSON can only be a number
}

// decimal is an exact number: unscaled / 10^scale, scale >= 0.
type decimal struct {
	unscaled *big.Int
	scale    int
}

// parseDecimal reads [-]digits[.digits][e[±]digits]; false for anything else (Postgres' NaN and Infinity, say) and for exponents
// beyond any that decodeAmount lets through.
func parseDecimal(s string) (decimal, bool) {
	mantissa, exponent, hasExp := strings.Cut(strings.ToLower(s), "e")
	exp := 0
	if hasExp {
		var err error
		if exp, err = strconv.Atoi(exponent); err != nil || exp < -1000 || exp > 1000 {
			return decimal{}, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	unscaled, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok {
		return decimal{}, false
	}
	d := decimal{unscaled: unscaled, scale: len(fraction) - exp}
	if d.scale < 0 {
		d.unscaled.Mul(d.unscaled, pow10(-d.scale))
		d.scale = 0
	}
	return d, true
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// round rounds to scale digits behind the point, halves away from zero, as Postgres' numeric does
// (https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-NUMERIC-DECIMAL). A negative scale rounds before the point.
func (d decimal) round(scale int) decimal {
	if d.scale <= scale {
		return d
	}
	unit := pow10(d.scale - scale)
	quotient, rest := new(big.Int).QuoRem(d.unscaled, unit, new(big.Int))
	if rest.Abs(rest).Lsh(rest, 1).Cmp(unit) >= 0 {
		quotient.Add(quotient, big.NewInt(int64(d.unscaled.Sign())))
	}
	if scale < 0 {
		return decimal{unscaled: quotient.Mul(quotient, pow10(-scale))}
	}
	return decimal{unscaled: quotient, scale: scale}
}

func (d decimal) equal(o decimal) bool {
	scale := max(d.scale, o.scale)
	return d.times(scale).Cmp(o.times(scale)) == 0
}

func (d decimal) times(scale int) *big.Int {
	return new(big.Int).Mul(d.unscaled, pow10(scale-d.scale))
}
