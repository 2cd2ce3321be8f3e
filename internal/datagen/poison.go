package datagen

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// Poison is a kind of bad record, with the reason of its dead letter.
type Poison struct {
	Kind      string
	Reason    string // one of the words of join.Reason
	Clicks    bool   // sent to the clicks topic
	Checkouts bool   // sent to the checkouts topic
	spoil     func(value []byte, topic topic, clock int64) []byte
}

// Poisons lists every kind, in the order in which a run sends them.
func Poisons() []Poison {
	return slices.Concat(brokenPoisons(), idPoisons(), timePoisons(), checkoutPoisons())
}

// replace replaces the value of a member by raw.
func replace(name, raw string) func([]byte, topic, int64) []byte {
	return func(value []byte, t topic, _ int64) []byte {
		name := name
		if name == "id" {
			name = t.idMember()
		}
		from, to := member(value, name)
		return splice(value, from, to, raw)
	}
}

func splice(value []byte, from, to int, raw string) []byte {
	return slices.Concat(value[:from], []byte(raw), value[to:])
}

// rename renames a member, so that it is missing.
func rename(name string) func([]byte, topic, int64) []byte {
	return func(value []byte, t topic, _ int64) []byte {
		name := name
		if name == "id" {
			name = t.idMember()
		}
		return bytes.Replace(value, []byte(`"`+name+`": `), []byte(`"`+strings.ToUpper(name)+`": `), 1)
	}
}

func whole(text string) func([]byte, topic, int64) []byte {
	return func([]byte, topic, int64) []byte { return []byte(text) }
}

// brokenPoisons are not valid JSON, no objects, or not valid UTF-8.
func brokenPoisons() []Poison {
	both := func(kind, reason string, spoil func([]byte, topic, int64) []byte) Poison {
		return Poison{kind, reason, true, true, spoil}
	}
	changed := func(change func(v []byte) []byte) func([]byte, topic, int64) []byte {
		return func(v []byte, _ topic, _ int64) []byte { return change(v) }
	}
	return []Poison{
		both("tombstone", "empty", changed(func([]byte) []byte { return nil })),
		both("no bytes", "empty", whole("")),
		both("cut off", "json", changed(func(v []byte) []byte { return v[:len(v)*2/3] })),
		both("no json", "json", whole("GET /checkout HTTP/1.1")),
		both("blanks", "json", whole(" \n")),
		both("two values", "json", changed(func(v []byte) []byte { return slices.Concat(v, []byte(" "), v) })),
		both("single quotes", "json", changed(func(v []byte) []byte {
			return bytes.ReplaceAll(v, []byte{'"'},
				[]byte{'\''})
		})),
		both("raw NUL", "json", replace("user_agent", "\"Mozilla\x00\"")),
		both("raw newline", "json", replace("user_agent", "\"Mozilla\n\"")),
		both("leading zero", "json", replace("user_id", "007")),
		both("array", "shape", changed(func(v []byte) []byte { return slices.Concat([]byte("["), v, []byte("]")) })),
		both("string", "shape", whole(`"click"`)),
		both("number", "shape", whole("42")),
		both("null", "shape", whole("null")),
		both("invalid UTF-8", "text", replace("user_agent", "\"Mozilla\xff\xfe\"")),
		both("cut UTF-8", "text", replace("user_agent", "\"Caf\xc3\"")),
	}
}

// idPoisons lack an id that the join needs.
func idPoisons() []Poison {
	var all []Poison
	long := `"` + strings.Repeat("x", 256) + `"`
	for _, id := range []struct {
		name              string
		clicks, checkouts bool
		member, reason    string
	}{
		{"click_id", true, false, "id", "click_id"},
		{"checkout_id", false, true, "id", "checkout_id"},
		{"product_id", true, true, "product_id", "product_id"},
	} {
		for _, p := range []struct{ kind, raw string }{
			{"null ", "null"}, {"empty ", `""`}, {"number as ", "17"}, {"long ", long}, {"list as ", "[]"},
		} {
			all = append(all, Poison{p.kind + id.name, id.reason, id.clicks, id.checkouts, replace(id.member, p.raw)})
		}
		all = append(all, Poison{"missing " + id.name, id.reason, id.clicks, id.checkouts, rename(id.member)})
	}
	for _, p := range []struct{ kind, raw string }{
		{"null user_id", "null"}, {"user_id of 2^31", "2147483648"}, {"user_id below -2^31", `"-2147483649"`},
		{"user_id of 30 digits", strings.Repeat("9", 30)}, {"fraction as user_id", "7.5"},
		{"exponent as user_id", "1e2"},
		{"word as user_id", `"seven"`}, {"empty user_id", `""`}, {"true as user_id", "true"},
	} {
		all = append(all, Poison{p.kind, "user_id", true, true, replace("user_id", p.raw)})
	}
	return append(all, Poison{"missing user_id", "user_id", true, true, rename("user_id")})
}

func timePoisons() []Poison {
	all := []Poison{{"missing time", "time", true, true, rename("datetime_occured")}}
	for _, p := range []struct{ kind, raw string }{
		{"null time", "null"}, {"empty time", `""`}, {"epoch as time", "1795392000"}, {"word as time", `"yesterday"`},
		{"30 February", `"2026-02-30 12:00:00.000"`}, {"hour 24", `"2026-02-03 24:00:00.000"`},
		{"second 60", `"2026-06-30 23:59:60.000"`}, {"date only", `"2026-02-03"`},
		{"ancient time", `"1912-04-15 02:20:00.000"`}, {"year 10000", `"10000-01-01 00:00:00.000"`},
	} {
		all = append(all, Poison{p.kind, "time", true, true, replace("datetime_occured", p.raw)})
	}
	return append(all,
		Poison{"year 9999", "future", true, true, replace("datetime_occured", `"9999-12-31 23:59:59.999"`)},
		Poison{"tomorrow", "future", true, true, func(value []byte, _ topic, clock int64) []byte {
			from, to := member(value, "datetime_occured")
			day := time.UnixMicro(clock).UTC().Add(24 * time.Hour)
			return splice(value, from, to, day.Format(`"2006-01-02 15:04:05.000"`))
		}})
}

// checkoutPoisons have a bad member that only the table needs.
func checkoutPoisons() []Poison {
	var all []Poison
	for _, p := range []struct{ kind, reason, member, raw string }{
		{"word as amount", "amount", "total_amount", `"much"`},
		{"comma in amount", "amount", "total_amount", `"12,50"`},
		{"true as amount", "amount", "total_amount", "true"},
		{"amount of 1e400", "amount", "total_amount", "1e400"},
		{"amount of 65 digits", "amount", "total_amount", "1." + strings.Repeat("3", 63)},
		{"NaN as amount", "json", "total_amount", "NaN"}, // as Python prints it
		{"amount beyond the column", "refused", "total_amount", "123456789012.34"},
		{"NUL in text", "text", "shipping_address", `"148 Eric Track\u0000New Stephanie"`},
		{"lone surrogate in text", "text", "billing_address", `"148 Eric Track \ud83d"`},
		{"number as text", "text", "payment_method", "16"},
		{"object as text", "text", "ip_address", `{"v4": "10.0.0.1"}`},
	} {
		all = append(all, Poison{p.kind, p.reason, false, true, replace(p.member, p.raw)})
	}
	return all
}

// badRecord is a kind of bad record on one topic.
type badRecord struct {
	kind  int
	topic topic
}

func badRecords(kinds []Poison) []badRecord {
	var all []badRecord
	for i, k := range kinds {
		if k.Clicks {
			all = append(all, badRecord{i, clicks})
		}
		if k.Checkouts {
			all = append(all, badRecord{i, checkouts})
		}
	}
	return all
}
