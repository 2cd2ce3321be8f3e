package audit

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timeShape is YYYY-MM-DD HH:MM[:SS[.f+]][zone] with a blank or T in the middle, a point or comma
// before 1 to 9 digits of a fraction, and Z, z or ±HH[[:]MM] as the zone.
var timeShape = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?:(:\d\d)(?:[.,](\d{1,9}))?)?` +
	`(?:([Zz])|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)?$`)

// parseTime reads microseconds since the Unix epoch; further digits are dropped. Without a zone it
// is a wall clock's time in zone, by time.Date's rule where the clock was changed.
func parseTime(s string, zone *time.Location) (int64, bool) {
	m := timeShape.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	day, minute, second, fraction := m[1], m[2], m[3], m[4]
	utc, sign, offsetHours, offsetMinutes := m[5], m[6], m[7], m[8]
	if second == "" {
		second = ":00"
	}
	number := func(digits string) int {
		n, _ := strconv.Atoi(digits) // digits or nothing
		return n
	}
	switch {
	case utc != "":
		zone = time.UTC
	case sign != "":
		zone = time.FixedZone("", number(sign+"1")*(number(offsetHours)*60+number(offsetMinutes))*60)
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05", day+" "+minute+second, zone)
	if y := t.UTC().Year(); err != nil || y < 1970 || y > 9999 {
		return 0, false
	}
	return t.Unix()*1_000_000 + int64(number((fraction + "000000")[:6])), true
}

// decodeAmount takes a JSON number, or a string that holds one, as it is written. NULL or absent is
// no amount.
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
	return last >= '0' && last <= '9' && json.Valid([]byte(s)) // without blanks around, that is a number
}

// parseDecimal reads what decodeAmount accepts, or Postgres prints; false for Postgres' NaN and
// Infinity.
func parseDecimal(s string) (*big.Rat, bool) { return new(big.Rat).SetString(s) }

// round rounds to scale digits behind the point, halves away from zero, as Postgres' numeric does
// (https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-NUMERIC-DECIMAL). A
// negative scale rounds before the point.
func round(r *big.Rat, scale int) *big.Rat {
	unit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, -scale))), nil))
	if scale < 0 {
		unit.Inv(unit)
	}
	scaled := new(big.Rat).Mul(r, unit)
	whole, _ := new(big.Int).SetString(scaled.FloatString(0), 10) // which rounds halves away from zero
	return scaled.Quo(new(big.Rat).SetInt(whole), unit)
}
