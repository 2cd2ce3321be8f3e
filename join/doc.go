// Package join is the pure heart of firstclick: which click led to a checkout? No I/O and no clock in it: time is an argument.
//
// The answer for a checkout K is the click with the least (time, click_id) among the clicks with K's user and product and
// K.Time-window <= click.Time <= K.Time. Least-of is a semilattice: an answer only ever moves to an earlier click, so any order of
// arrival, any replay and any duplicate end in the same answer.
//
// # Times
//
// Event time is int64 microseconds since the Unix epoch, UTC ("micros"). NoTime means "none yet".
//
// # Parts
//
//   - Decoder turns a record's value into a Click or a Checkout, or says why not (DecodeError, with a stable Reason).
//   - Hasher turns (user_id, product_id) into a Key, ID packs an event's id.
//   - Window holds the clicks by Key and answers First. Safe for concurrent use. Batch inserts and Lookups asks many at a time.
//   - Recents holds the checkouts whose answer may still move, and marks those for which a click was read late. One shard owns it, one goroutine at
//     a time. Core.Take asks the window for what is marked: so what waits for a transaction is bounded by checkouts.
//
// Window and Recents hold no pointers per entry: ten million clicks give the garbage collector nothing to scan.
package join

import "math"

// NoTime means "no time yet" wherever a time in micros is expected.
const NoTime = math.MinInt64
