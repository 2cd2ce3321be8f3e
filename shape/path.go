package shape

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Meta is what a path names beside a record's value.
type Meta string

// What a path may name beside the value. NoMeta: the path leads into the value.
const (
	NoMeta    Meta = ""
	Key       Meta = "$key"
	Header    Meta = "$headers" // the last header of the name in Path.Header
	Timestamp Meta = "$timestamp"
	Partition Meta = "$partition"
	Offset    Meta = "$offset"
)

// Path names one value of a record.
type Path struct {
	Meta   Meta
	Header string // with Meta Header
	Steps  []Step // with NoMeta: one or more, the first is a member
}

// Step is one step into a value: a member of an object, or an element of an array.
type Step struct {
	Member string
	Index  int // with Member empty and IsIndex set: from 0
	// IsIndex tells an element of an array from a member, whose name may be empty.
	IsIndex bool
}

// maxSteps bounds the depth of a path.
const maxSteps = 32

// Equal says whether two paths name the same value.
func (p Path) Equal(q Path) bool { return p.String() == q.String() }

// Simple returns the member that the path names, if it names a member of the top.
func (p Path) Simple() (member string, ok bool) {
	if p.Meta == NoMeta && len(p.Steps) == 1 {
		return p.Steps[0].Member, true
	}
	return "", false
}

// String writes the path as it is declared. A member's name stands in quotes only where it has to.
func (p Path) String() string {
	switch p.Meta {
	case NoMeta:
	case Header:
		return string(Header) + "." + quoteMember(p.Header)
	default:
		return string(p.Meta)
	}
	var b strings.Builder
	for i, s := range p.Steps {
		switch {
		case s.IsIndex:
			fmt.Fprintf(&b, "[%d]", s.Index)
		case i > 0:
			b.WriteByte('.')
			fallthrough
		default:
			b.WriteString(quoteMember(s.Member))
		}
	}
	return b.String()
}

// plainMember says whether a name needs no quotes in a path.
func plainMember(name string) bool {
	return name != "" && name[0] != '$' && !strings.ContainsAny(name, ".[]\" \t\r\n\\")
}

func quoteMember(name string) string {
	if plainMember(name) {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// ParsePath reads a path: order.customer.id, products[0].sku, "a name with spaces".x, $key,
// $headers.NAME, $timestamp, $partition, $offset. In quotes, \" and \\ stand for " and \.
func ParsePath(text string) (Path, error) {
	if !utf8.ValidString(text) {
		return Path{}, errors.New("it is not valid UTF-8")
	}
	if strings.HasPrefix(text, "$") {
		return parseMeta(text)
	}
	var p Path
	rest := text
	for first := true; rest != "" || first; first = false {
		var step Step
		var err error
		switch {
		case strings.HasPrefix(rest, "["):
			if first {
				return Path{}, errors.New("a path begins with a member's name")
			}
			step, rest, err = parseIndex(rest)
		default:
			if !first {
				if rest[0] != '.' {
					return Path{}, fmt.Errorf("a dot or [ is missing before %q", rest)
				}
				rest = rest[1:]
			}
			step, rest, err = parseMember(rest)
		}
		if err != nil {
			return Path{}, err
		}
		p.Steps = append(p.Steps, step)
	}
	if len(p.Steps) > maxSteps {
		return Path{}, fmt.Errorf("it has %d steps, and %d is the limit", len(p.Steps), maxSteps)
	}
	return p, nil
}

func parseMeta(text string) (Path, error) {
	switch m := Meta(text); m {
	case Key, Timestamp, Partition, Offset:
		return Path{Meta: m}, nil
	}
	name, is := strings.CutPrefix(text, string(Header)+".")
	if !is {
		return Path{}, fmt.Errorf("%s is none of $key, $headers.NAME, $timestamp, $partition, $offset; a member of "+
			"that name stands in quotes", text)
	}
	if !strings.HasPrefix(name, `"`) { // a header's name may hold dots: the rest is the name
		if name == "" {
			return Path{}, errors.New("the header's name is missing")
		}
		return Path{Meta: Header, Header: name}, nil
	}
	step, rest, err := parseMember(name)
	if err == nil && rest != "" {
		err = fmt.Errorf("%q follows the header's name", rest)
	}
	return Path{Meta: Header, Header: step.Member}, err
}

func parseMember(text string) (s Step, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		var b strings.Builder
		for i := 1; i < len(text); i++ {
			switch c := text[i]; {
			case c == '"':
				return Step{Member: b.String()}, text[i+1:], nil
			case c == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
				i++
				b.WriteByte(text[i])
			default:
				b.WriteByte(c)
			}
		}
		return s, "", errors.New("a closing quote is missing")
	}
	end := strings.IndexAny(text, ".[")
	if end < 0 {
		end = len(text)
	}
	name := text[:end]
	if name == "" {
		return s, "", errors.New("a member's name is missing")
	}
	if !plainMember(name) {
		return s, "", fmt.Errorf("the name %s stands in double quotes, for it holds a space, a bracket, a quote, "+
			"a backslash or begins with $: %s", name, quoteMember(name))
	}
	return Step{Member: name}, text[end:], nil
}

func parseIndex(text string) (s Step, rest string, err error) {
	digits, rest, closed := strings.Cut(text[1:], "]")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !closed || err != nil || digits != strconv.FormatUint(n, 10) {
		return s, "", fmt.Errorf("%s is no index: write [0], [1] and so on; one record is one row, so arrays are not "+
			"taken apart", text)
	}
	return Step{Index: int(n), IsIndex: true}, rest, nil
}

// ParseTable reads a table's name as in SQL, with its schema: shop.products, crm."Members". Names
// without quotes are folded to lower case.
func ParseTable(text string) (Table, error) {
	schema, rest, err := parseIdentifier(text)
	if err != nil {
		return Table{}, err
	}
	if rest == "" {
		return Table{}, fmt.Errorf("name the schema too, as in public.%s", text)
	}
	if rest[0] != '.' {
		return Table{}, fmt.Errorf("%q follows the schema's name", rest)
	}
	name, rest, err := parseIdentifier(rest[1:])
	if err == nil && rest != "" {
		err = fmt.Errorf("%q follows the table's name", rest)
	}
	return Table{schema, name}, err
}

// ParseColumn reads a column's name as in SQL.
func ParseColumn(text string) (string, error) {
	name, rest, err := parseIdentifier(text)
	if err == nil && rest != "" {
		err = fmt.Errorf("%q follows the column's name; a name with other characters than letters, digits, "+
			"_ and $ stands in double quotes", rest)
	}
	return name, err
}

// maxIdentifier is the length in bytes of a name that Postgres does not cut off.
const maxIdentifier = 63

// parseIdentifier reads an identifier of SQL from the beginning of text
// (https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS).
func parseIdentifier(text string) (name, rest string, err error) {
	switch {
	case strings.HasPrefix(text, `"`):
		closed := false
		for i := 1; i < len(text); i++ {
			if text[i] != '"' {
				continue
			}
			if i+1 < len(text) && text[i+1] == '"' {
				i++
				continue
			}
			name, rest, closed = strings.ReplaceAll(text[1:i], `""`, `"`), text[i+1:], true
			break
		}
		if !closed {
			return "", "", errors.New("a closing quote is missing")
		}
	default:
		end := 0
		for end < len(text) && isIdentifier(text[end], end == 0) {
			end++
		}
		name, rest = foldASCII(text[:end]), text[end:]
	}
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return "", "", fmt.Errorf("%q is no name in SQL", text)
	case len(name) > maxIdentifier:
		return "", "", fmt.Errorf("%s is longer than the %d bytes of a name in Postgres", name, maxIdentifier)
	}
	return name, rest, nil
}

// foldASCII folds as Postgres does in a database of UTF8: letters of ASCII alone.
func foldASCII(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

func isIdentifier(c byte, first bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 || !first && (c >= '0' &&
		c <= '9' || c == '$')
}

// String writes the table's name as in SQL.
func (t Table) String() string { return QuoteName(t.Schema) + "." + QuoteName(t.Name) }

// QuoteName writes a name as in SQL, with quotes only where it has to: where SQL would fold or
// refuse it. Words that SQL reserves are not known here: statements quote every name.
func QuoteName(name string) string {
	plain := name != ""
	for i := range len(name) {
		c := name[i]
		plain = plain && c < 0x80 && isIdentifier(c, i == 0) && (c < 'A' || c > 'Z')
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
