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
	spoil     spoiler
}

// spoiler makes a bad record of an event that is produced at clock.
type spoiler func(event []byte, clock int64) []byte

func always(text string) spoiler {
	return func([]byte, int64) []byte { return []byte(text) }
}

// replace replaces the value of a member by raw.
func replace(name, raw string) spoiler {
	return func(event []byte, _ int64) []byte {
		from, to := member(event, name)
		return slices.Concat(event[:from], []byte(raw), event[to:])
	}
}

// rename renames a member, so that it is missing.
func rename(name string) spoiler {
	return func(event []byte, _ int64) []byte {
		return bytes.Replace(event, []byte(`"`+name+`": `), []byte(`"`+strings.ToUpper(name)+`": `), 1)
	}
}

// Poisons lists every kind, in the order in which a run sends them.
func Poisons() []Poison {
	var all []Poison
	both := func(kind, reason string, spoil spoiler) {
		all = append(all, Poison{kind, reason, true, true, spoil})
	}

	// No valid JSON, no object, or no valid UTF-8.
	both("tombstone", "empty", func([]byte, int64) []byte { return nil })
	both("no bytes", "empty", always(""))
	both("cut off", "json", func(v []byte, _ int64) []byte { return v[:len(v)*2/3] })
	both("no json", "json", always("GET /checkout HTTP/1.1"))
	both("blanks", "json", always(" \n"))
	both("two values", "json", func(v []byte, _ int64) []byte { return slices.Concat(v, []byte(" "), v) })
	both("single quotes", "json", func(v []byte, _ int64) []byte {
		return bytes.ReplaceAll(v, []byte(`"`), []byte("'"))
	})
	both("raw NUL", "json", replace("user_agent", "\"Mozilla\x00\""))
	both("raw newline", "json", replace("user_agent", "\"Mozilla\n\""))
	both("leading zero", "json", replace("user_id", "007"))
	both("array", "shape", func(v []byte, _ int64) []byte { return slices.Concat([]byte("["), v, []byte("]")) })
	both("string", "shape", always(`"click"`))
	both("number", "shape", always("42"))
	both("null", "shape", always("null"))
	both("invalid UTF-8", "text", replace("user_agent", "\"Mozilla\xff\xfe\""))
	both("cut UTF-8", "text", replace("user_agent", "\"Caf\xc3\""))

	// A bad id.
	for _, id := range []struct {
		name              string
		clicks, checkouts bool
	}{{"click_id", true, false}, {"checkout_id", false, true}, {"product_id", true, true}} {
		for _, p := range []struct{ kind, raw string }{
			{"null ", "null"}, {"empty ", `""`}, {"number as ", "17"},
			{"long ", `"` + strings.Repeat("x", 256) + `"`}, {"list as ", "[]"},
		} {
			all = append(all, Poison{p.kind + id.name, id.name, id.clicks, id.checkouts, replace(id.name, p.raw)})
		}
		all = append(all, Poison{"missing " + id.name, id.name, id.clicks, id.checkouts, rename(id.name)})
	}
	for _, p := range []struct{ kind, raw string }{
		{"null user_id", "null"}, {"user_id of 2^31", "2147483648"}, {"user_id below -2^31", `"-2147483649"`},
		{"user_id of 30 digits", strings.Repeat("9", 30)}, {"fraction as user_id", "7.5"},
		{"exponent as user_id", "1e2"}, {"word as user_id", `"seven"`}, {"empty user_id", `""`},
		{"true as user_id", "true"},
	} {
		both(p.kind, "user_id", replace("user_id", p.raw))
	}
	both("missing user_id", "user_id", rename("user_id"))

	// A bad time.
	both("missing time", "time", rename("datetime_occured"))
	for _, p := range []struct{ kind, raw string }{
		{"null time", "null"}, {"empty time", `""`}, {"epoch as time", "1795392000"}, {"word as time", `"yesterday"`},
		{"30 February", `"2026-02-30 12:00:00.000"`}, {"hour 24", `"2026-02-03 24:00:00.000"`},
		{"second 60", `"2026-06-30 23:59:60.000"`}, {"date only", `"2026-02-03"`},
		{"ancient time", `"1912-04-15 02:20:00.000"`}, {"year 10000", `"10000-01-01 00:00:00.000"`},
	} {
		both(p.kind, "time", replace("datetime_occured", p.raw))
	}
	both("year 9999", "future", replace("datetime_occured", `"9999-12-31 23:59:59.999"`))
	both("tomorrow", "future", func(v []byte, clock int64) []byte {
		day := time.UnixMicro(clock).UTC().Add(24 * time.Hour)
		return replace("datetime_occured", day.Format(`"2006-01-02 15:04:05.000"`))(v, clock)
	})

	// A bad member that only the table needs.
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
