package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// whereInvalid says where a value is not valid JSON, for people: the byte, counted from 0, the
// member that it belongs to, and what stands there. It reads the value again with encoding/json,
// which agrees with the scanner.
func whereInvalid(value []byte) string {
	var syntax *json.SyntaxError
	at, why := len(value), "the text ends early"
	err := json.Unmarshal(value, new(json.RawMessage))
	if errors.As(err, &syntax) && err.Error() != "unexpected end of JSON input" {
		at, why = max(int(syntax.Offset)-1, 0), err.Error()
	}
	at = min(at, len(value))
	text := fmt.Sprintf("not valid JSON at byte %d", at)
	if path := pathTo(value, int64(at)); path != "" {
		text += " (" + path + ")"
	}
	if at == len(value) {
		const before = 30
		return fmt.Sprintf("%s: %s, behind %s", text, why, strconv.QuoteToASCII(string(value[max(0, at-before):])))
	}
	const most = 30
	there := strconv.QuoteToASCII(string(value[at:min(at+most, len(value))]))
	if at+most < len(value) {
		there += "..."
	}
	return fmt.Sprintf("%s: %s, at %s", text, why, there)
}

// pathTo is the member in which an offset lies, such as items[2].price. It is empty at the
// outermost level. Where nesting is deep it ends early.
func pathTo(value []byte, at int64) string {
	type level struct {
		object bool
		name   string // of the member that is being read
		n      int    // of the element
		value  bool   // the name has been read: a value comes
	}
	const deep = 32
	var levels []level
	end := int64(0) // of what has been read
	read := json.NewDecoder(bytes.NewReader(value))
	read.UseNumber()
	for read.InputOffset() < at {
		token, err := read.Token()
		if err != nil || len(levels) > deep {
			break
		}
		if read.InputOffset() > at {
			break
		}
		end = read.InputOffset()
		top := len(levels) - 1
		if d, ok := token.(json.Delim); ok {
			if d == '{' || d == '[' {
				levels = append(levels, level{object: d == '{', n: -1})
				if d == '[' {
					levels[len(levels)-1].n = 0
				}
				continue
			}
			levels = levels[:top]
			top--
		} else if top >= 0 && levels[top].object && !levels[top].value {
			levels[top].name, levels[top].value = token.(string), true
			continue
		}
		if top >= 0 {
			levels[top].value, levels[top].n = false, levels[top].n+1
		}
	}
	behind := bytes.IndexByte(value[end:at], ',') < 0 // what stands there belongs to the member just read
	path := ""
	for _, l := range levels {
		switch {
		case !l.object:
			path += fmt.Sprintf("[%d]", l.n)
		case !l.value && !behind:
			return path
		case path == "":
			path = shown(l.name)
		default:
			path += "." + shown(l.name)
		}
	}
	const most = 100
	if len(path) > most { // the end of it tells most
		path = "..." + path[len(path)-most:]
	}
	return path
}

// shown is a member's name in printable ASCII, cut if it is long: records are not trusted.
func shown(name string) string {
	const most = 30
	text := strconv.QuoteToASCII(name)
	text = text[1 : len(text)-1]
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
