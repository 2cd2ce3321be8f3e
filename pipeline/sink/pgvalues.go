package sink

import (
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/join/event"
)

// list is the values of one column, as an array.
func list[T, V any](rows []T, value func(T) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = value(r)
	}
	return values
}

// notNull keeps a missing list from becoming NULL.
func notNull[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

func optionalUUID(id [16]byte) pgtype.UUID {
	return pgtype.UUID{Bytes: id, Valid: id != [16]byte{}}
}

func interval(d time.Duration) pgtype.Interval {
	return pgtype.Interval{Microseconds: d.Microseconds(), Valid: true}
}

// earliest is the first instant that timestamptz is sure to hold. The last one is later than int64
// microseconds reach.
var earliest = time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// instant is a timestamptz: NULL for none, -infinity before what it holds.
func instant(micros int64) pgtype.Timestamptz {
	switch {
	case micros == event.NoTime:
		return pgtype.Timestamptz{}
	case micros < earliest:
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(micros).UTC(), Valid: true}
}

// micros is the reverse of instant.
func micros(t pgtype.Timestamptz) int64 {
	switch {
	case !t.Valid || t.InfinityModifier == pgtype.NegativeInfinity:
		return event.NoTime
	case t.InfinityModifier == pgtype.Infinity:
		return math.MaxInt64
	}
	return t.Time.UnixMicro()
}

// clean makes text that Postgres stores: valid UTF-8 without NUL, not endless.
func clean(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// ascii makes text that a database of any encoding stores: what is said of a record is found by its
// offset.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, clean(s))
}
