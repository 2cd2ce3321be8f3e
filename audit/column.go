package audit

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// column is how Postgres stores a column. Values are compared as the type stores them.
type column struct {
	kind  columnKind
	limit int // characters of varchar(n) and char(n), digits of numeric(p,s); 0: any
	scale int // of numeric(p,s); digits of timestamp(p)
}

type columnKind int

const (
	columnText columnKind = iota // varchar, text, and whatever else there is: compared as text
	columnPadded
	columnNumeric
	columnFloat4
	columnFloat8
	columnTime
)

type columns map[string]column

// columnOf decodes a type modifier as Postgres' own functions do (numerictypmodout,
// varchartypmodout).
func columnOf(kind string, mod int) column {
	switch kind {
	case "varchar":
		return column{kind: columnText, limit: max(0, mod-4)}
	case "bpchar":
		return column{kind: columnPadded, limit: max(0, mod-4)}
	case "numeric":
		if mod < 4 {
			return column{kind: columnNumeric}
		}
		return column{kind: columnNumeric, limit: (mod - 4) >> 16 & 0xffff, scale: ((mod-4)&0x7ff ^ 1024) - 1024}
	case "float4":
		return column{kind: columnFloat4}
	case "float8":
		return column{kind: columnFloat8}
	case "timestamp", "timestamptz":
		if mod < 0 {
			mod = 6
		}
		return column{kind: columnTime, scale: mod}
	default:
		return column{kind: columnText}
	}
}

// stored is a text as the column stores it. Postgres cuts blanks off a text that is too long, and
// refuses the text if it is still too long.
func (c column) stored(s string) string {
	if c.limit > 0 && utf8.RuneCountInString(s) > c.limit {
		if cut := firstRunes(s, c.limit); strings.Trim(s[len(cut):], " ") == "" {
			s = cut
		}
	}
	if c.kind == columnPadded {
		s = strings.TrimRight(s, " ")
	}
	return s
}

// firstRunes gives the first n characters of a text that has so many.
func firstRunes(s string, n int) string {
	cut := 0
	for range n {
		_, size := utf8.DecodeRuneInString(s[cut:])
		cut += size
	}
	return s[:cut]
}

// unit is what the column holds a time to, in microseconds.
func (c column) unit() int64 {
	if c.kind != columnTime {
		return 1
	}
	return int64(math.Pow10(6 - c.scale))
}

// storedTime rounds microseconds as timestamp(p) does, halves up (times here are after 1970).
func (c column) storedTime(micros int64) int64 {
	unit := c.unit()
	if unit <= 1 {
		return micros
	}
	return (micros + unit/2) / unit * unit
}

func (c column) storedClick(k click) click {
	k.time = c.storedTime(k.time)
	return k
}

// equal compares a record's value with what the column holds.
func (c column) equal(wire, there optional) bool {
	if !wire.valid || !there.valid || wire.text == there.text {
		return wire.valid == there.valid
	}
	switch c.kind {
	case columnNumeric:
		w, okW := parseDecimal(wire.text)
		t, okT := parseDecimal(there.text)
		if c.limit > 0 && okW {
			w = round(w, c.scale)
		}
		return okW && okT && w.Cmp(t) == 0
	case columnFloat4, columnFloat8:
		bits := 64
		if c.kind == columnFloat4 {
			bits = 32
		}
		w, errW := strconv.ParseFloat(wire.text, bits)
		t, errT := strconv.ParseFloat(there.text, bits)
		return errW == nil && errT == nil && w == t
	default:
		return c.stored(wire.text) == c.stored(there.text)
	}
}

// differing names the first own column in which the row is not as the checkout would be stored.
// name is "" if there is none.
func (cs columns) differing(row *item, k event) (name, want, there string) {
	for i, c := range ownColumns {
		if !cs[c.name].equal(k.values[i], row.values[i]) {
			return c.name, k.values[i].String(), row.values[i].String()
		}
	}
	at := cs["checkout_time"].storedTime(k.time)
	switch {
	case row.flags&flagTimed == 0:
		return "checkout_time", formatTime(at), "NULL"
	case row.time != at:
		return "checkout_time", formatTime(at), formatTime(row.time)
	}
	return "", "", ""
}
