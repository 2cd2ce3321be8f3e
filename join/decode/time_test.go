package decode

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firstclick/join/event"
)

var testZones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}

// parseTime against time.Parse, for every shape of text near a valid time.
func TestParseTimeAgainstStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(testZones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(-90000, event.EndOfTime/1e6+90000).Draw(t, "at"),
			rapid.Int64Range(0, 999999999).Draw(t, "nanos")).UTC()
		digits := rapid.IntRange(0, 9).Draw(t, "digits")
		layout := "2006-01-02" + rapid.SampledFrom([]string{" ", "T"}).Draw(t, "sep") + "15:04:05"
		if digits > 0 {
			layout += "." + strings.Repeat("0", digits)
		}
		text, parse := at.Format(layout), layout
		in := zone
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			text, parse, in = text+"Z", layout+"Z07:00", time.UTC
		case 2:
			text, parse = at.In(time.FixedZone("", 60*rapid.IntRange(-1439, 1439).Draw(t,
				"offset"))).Format(layout+"-07:00"), layout+"-07:00"
		}
		want, err := time.ParseInLocation(parse, text, in)
		if err != nil {
			if _, ok := parseTime([]byte(text), zone); ok {
				t.Fatalf("%q: taken, but %v", text, err)
			}
			return
		}
		wantOK := want.UTC().Year() >= 1970 && want.UTC().Year() <= 9999
		got, ok := parseTime([]byte(text), zone)
		if ok != wantOK || ok && got != want.UnixMicro() {
			t.Fatalf("%q in %s: %d %t, want %d %t", text, zone, got, ok, want.UnixMicro(), wantOK)
		}
	})
}

func TestParseTimeCalendar(t *testing.T) {
	for year := 1970; year < 2410; year++ {
		for month := 1; month <= 12; month++ {
			days := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
			for day := 0; day <= 32; day++ {
				want := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).UnixMicro()
				got, ok := parseTime(fmt.Appendf(nil, "%04d-%02d-%02d 00:00:00", year, month, day), time.UTC)
				if ok != (1 <= day && day <= days) || ok && got != want {
					t.Fatalf("%d-%d-%d: %d %t", year, month, day, got, ok)
				}
			}
		}
	}
}

func TestParseTimeRefuses(t *testing.T) {
	for _, s := range []string{"", "2026-11-23", "2026-11-23 00", "2026-11-23 00:0", "2026-11-23 00:00:",
		"2026-11-23 00:00:0", "2026-11-23 00:00:60",
		"2026-11-23 00:00.5", "2026-11-23 00:00,5", "2026-11-23 00:00:00.,5", "2026-11-23 00:00:00,",
		"2026-11-23 00:60", "2026-11-23 00:00Zz", "2026-11-23 24:00:00", "2026-02-29 00:00:00",
		"2026-13-01 00:00:00", "2026-00-01 00:00:00", "2026-01-00 00:00:00", "2026-1-1 00:00:00",
		"2026-11-23 00:00:00.",
		"2026-11-23 00:00:00.1234567890", "2026-11-23t00:00:00", "2026-11-23 00:00:00 Z", "2026-11-23 00:00:00+24:00",
		"2026-11-23 00:00:00+01:60",
		"2026-11-23 00:00:00+010", "2026-11-23 00:00:00+1", "2026-11-23 00:00:00+", "2026-11-23 00:00:00+2400",
		"2026-11-23 00:00:00+24", "2026-11-23 00:00:00+0160",
		"2026-11-23 00:00:00+01:0", "2026-11-23 00:00:00+01000", "2026-11-23 00:00:00+01:000",
		"2026-11-23 00:00:00 +0000", "2026-11-23 00:00:00 ", " 2026-11-23 00:00:00", "20a6-11-23 00:00:00",
		"2026-11-23 00:00:00Zz",
		"9999-12-31T23:59:59-00:01", "1970-01-01T00:00:00+00:01"} {
		if got, ok := parseTime([]byte(s), time.UTC); ok {
			t.Errorf("%q: taken as %d", s, got)
		}
	}
	for s, want := range map[string]int64{"1970-01-01T00:00:00Z": 0, "1969-12-31 23:00:00-01:00": 0,
		"1970-01-01 00:00:00.0000019z": 1,
		"1970-01-01 00:00:00,5":        500000, "1970-01-01 00:00:00,000001999Z": 1, "1970-01-01 00:00": 0,
		"1970-01-01T00:01Z": 60e6, "1970-01-01 00:01+0000": 60e6,
		"1970-01-01 01:00:00+01": 0, "1970-01-01 01:30:00.25+0130": 250000, "1969-12-31 22:30-0130": 0,
		"1969-12-31T23:00:00-01": 0, "1970-01-01 00:00:00+00": 0,
		"1970-01-01 00:00:00.5": 500000, "9999-12-31T23:59:59.999999999Z": event.EndOfTime - 1} {
		if got, ok := parseTime([]byte(s), time.UTC); !ok || got != want {
			t.Errorf("%q: %d %t, want %d", s, got, ok, want)
		}
	}
}

// A clock put forward or back follows time.Date, whatever that says.
func TestParseTimeAtTheChangeOfClocks(t *testing.T) {
	for _, name := range testZones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range []time.Time{time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026,
				4, 5, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 4, 0, 0, 0, 0, time.UTC)} {
			for m := range 24 * 60 {
				at := day.Add(time.Duration(m) * time.Minute)
				want := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), 0, 0, zone).UnixMicro()
				if got, ok := parseTime([]byte(at.Format("2006-01-02 15:04:05")), zone); !ok || got != want {
					t.Fatalf("%s in %s: %d %t, want %d", at, name, got, ok, want)
				}
			}
		}
	}
}
