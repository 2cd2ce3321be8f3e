package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// decodeObject splits a value into its members. Member names are compared exactly and the last of
// equal ones wins, which is why this goes by a map: struct fields would match names whatever their
// case.
func decodeObject(value []byte) (map[string]json.RawMessage, string) {
	switch {
	case len(value) == 0:
		return nil, reasonEmpty
	case len(value) > maxValue:
		return nil, reasonTooLarge
	case !isObject(value) && json.Valid(value):
		return nil, reasonShape
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil { // which first checks the whole value
		return nil, reasonJSON
	}
	if !utf8.Valid(value) {
		return nil, reasonText // encoding/json has put U+FFFD in its place
	}
	return members, ""
}

func isObject(value []byte) bool {
	for _, c := range value {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == '{'
		}
	}
	return false
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// decodeString unquotes. clean is false when an escape stands for NUL, which Postgres cannot store,
// or for half a surrogate pair, in whose place encoding/json would put U+FFFD.
func decodeString(raw json.RawMessage) (text string, isString, clean bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false, false
	}
	if bytes.IndexByte(raw, '\\') < 0 { // and so the text is what stands there: the whole value was found to be valid
		return string(raw[1 : len(raw)-1]), true, true
	}
	if !cleanEscapes(raw) {
		return "", true, false
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", false, false
	}
	return text, true, true
}

func cleanEscapes(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		unit := hexUnit(raw[i+1:])
		i += 4
		switch {
		case unit == 0, unit >= 0xDC00 && unit <= 0xDFFF:
			return false
		case unit >= 0xD800 && unit <= 0xDBFF:
			rest := raw[i+1:]
			if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
				return false
			}
			if low := hexUnit(rest[2:]); low < 0xDC00 || low > 0xDFFF {
				return false
			}
			i += 6
		}
	}
	return true
}

// hexUnit reads four hex digits; the value was checked to be valid JSON before.
func hexUnit(b []byte) uint64 {
	v, err := strconv.ParseUint(string(b[:4]), 16, 32)
	if err != nil {
		return 0
	}
	return v
}
