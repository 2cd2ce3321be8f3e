package decode

import (
	"time"

	"firstclick/join/event"
)

func (d *Decoder) time() int64 {
	const want = "YYYY-MM-DD HH:MM:SS, seconds optional, with a fraction and a zone if need be, in years 1970 to 9999"
	if d.kind(fieldTime) != '"' {
		d.refuseField(fieldTime, event.ReasonTime, want)
		return 0
	}
	t, ok := parseTime(d.bytes(d.string(fieldTime)), d.zone)
	if !ok {
		d.refuseField(fieldTime, event.ReasonTime, want)
	}
	return t
}

// two is the number of two digits, or at least 100.
func two(a, b byte) int {
	a, b = a-'0', b-'0'
	if a > 9 || b > 9 {
		return 100
	}
	return int(a)*10 + int(b)
}

// parseTime reads a time in micros: `YYYY-MM-DD`, a blank or T, then `HH:MM` or `HH:MM:SS`. Behind
// seconds may stand a point or comma and 1 to 9 digits, of which those beyond the sixth are
// dropped. Then comes `Z`, `z`, `±HH:MM`, `±HHMM`, `±HH` or nothing: nothing means the clock of
// zone, by the rule of time.Date where that clock is put forward or back.
func parseTime(s []byte, zone *time.Location) (micros int64, ok bool) {
	if len(s) < 16 || s[4] != '-' || s[7] != '-' || s[10] != ' ' && s[10] != 'T' || s[13] != ':' {
		return 0, false
	}
	century, year := two(s[0], s[1]), two(s[2], s[3])
	month, day := two(s[5], s[6]), two(s[8], s[9])
	hour, minute, second := two(s[11], s[12]), two(s[14], s[15]), 0
	var fraction int64
	if s = s[16:]; len(s) >= 3 && s[0] == ':' {
		second = two(s[1], s[2])
		if fraction, s, ok = parseFraction(s[3:]); !ok {
			return 0, false
		}
	}
	if century > 99 || year > 99 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	year += century * 100
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if day > 28 && at.Day() != day { // the month has no such day
		return 0, false
	}
	seconds := at.Unix()
	switch {
	case len(s) == 0:
		if zone != time.UTC {
			seconds = time.Date(year, time.Month(month), day, hour, minute, second, 0, zone).Unix()
		}
	case len(s) == 1 && s[0]|0x20 == 'z':
	default:
		shift, ok := parseOffset(s)
		if !ok {
			return 0, false
		}
		seconds -= shift
	}
	if seconds < 0 || seconds >= event.EndOfTime/1e6 {
		return 0, false
	}
	return seconds*1e6 + fraction, true
}

// parseFraction reads the fraction of a second in micros, if there is one, and returns what is
// behind it.
func parseFraction(s []byte) (micros int64, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '.' && s[0] != ',' {
		return 0, s, true
	}
	n, scale := 1, int64(100000)
	for ; n < len(s) && s[n]-'0' <= 9; n++ {
		micros += int64(s[n]-'0') * scale
		scale /= 10
	}
	return micros, s[n:], n > 1 && n <= 10
}

// parseOffset reads a zone's offset in seconds.
func parseOffset(s []byte) (seconds int64, ok bool) {
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hours, minutes := two(s[1], s[2]), 0
	switch rest := s[3:]; {
	case len(rest) == 3 && rest[0] == ':':
		minutes = two(rest[1], rest[2])
	case len(rest) == 2:
		minutes = two(rest[0], rest[1])
	case len(rest) > 0:
		return 0, false
	}
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	seconds = int64(hours*3600 + minutes*60)
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}
