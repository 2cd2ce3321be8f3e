package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// decodeObject splits a value into its members. Names match exactly, and the last of equal names
// wins. It uses a map because struct fields match names in any case.
func decodeObject(value []byte) (map[string]json.RawMessage, string) {
	switch {
	case len(value) == 0:
		return nil, reasonEmpty
	case len(value) > maxValue:
		return nil, reasonTooLarge
	case !bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) && json.Valid(value):
		return nil, reasonShape
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil { // which first checks the whole value
		return nil, reasonJSON
	}
	if !utf8.Valid(value) {
		return nil, reasonText // which encoding/json replaced by U+FFFD
	}
	return members, ""
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// decodeString unquotes a string. clean is false if an escape stands for NUL, which Postgres cannot
// store, or for half a surrogate pair, which encoding/json replaces by U+FFFD.
func decodeString(raw json.RawMessage) (text string, isString, clean bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false, false
	}
	if bytes.IndexByte(raw, '\\') < 0 { // the value is valid JSON, so the bytes are the text
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

// hexUnit reads four hex digits of valid JSON.
func hexUnit(b []byte) uint64 {
	v, err := strconv.ParseUint(string(b[:4]), 16, 32)
	if err != nil {
		return 0
	}
	return v
}
