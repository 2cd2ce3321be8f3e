// Package event holds the small types that the join and everybody around it share: ids and keys,
// event time, checkouts on their way to a row, and what is stored of a shard.
//
// Event time is int64 microseconds since the Unix epoch, UTC ("micros"). NoTime means "none yet".
//
// A checkout has four shapes, one after the other:
//
//   - a Kafka record;
//   - [Checkout]: decoded, in memory that is lent to it while it waits for its clicks;
//   - [Released]: a Checkout with its first click, as it is written to Postgres;
//   - an open checkout (package open): what the join keeps of it so that a late click can correct
//     its row.
package event

import "math"

const (
	// NoTime means "no time yet" wherever a time in micros is expected.
	NoTime int64 = math.MinInt64
	// Forever is later than every event: no limit.
	Forever int64 = math.MaxInt64
	// EndOfTime is 10000-01-01T00:00:00Z in micros. An event's time is from 0 to before it.
	EndOfTime int64 = 253402300800_000_000
)
