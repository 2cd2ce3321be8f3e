// Package join is the rule of firstclick: which click led to a checkout, when the checkout is
// released, and until when a late click corrects it. It does no I/O and reads no clock: time is an
// argument. docs/semantics.md states the rule for users.
//
// The click of a checkout K is the click with the least (time, click_id) among the clicks with K's
// user and product and K.Time-window <= click.Time <= K.Time. The least of a set does not depend on
// order or repetition. So any order of arrival, any replay and any duplicate give the same answer.
//
// # Parts
//
//   - event: the types that everybody shares. decode: from a record's value to an event.
//   - window: the clicks of the last hour. Its readers insert into it from several goroutines.
//   - open: the open checkouts, whose click may still move. One shard owns them.
//   - [Core] decides: it holds the release queue and the open checkouts of each [Shard], what was
//     read of each clicks partition, and the watermark. One goroutine drives it.
//
// # Words
//
//   - barrier: a request for the clicks' end offsets. A checkout waits for the clicks below the end
//     offsets of the first barrier after its fetch.
//   - frontier: the time up to which a click may concern a checkout that was released already.
//   - final: no later click corrects the row.
//   - open: released and not final.
//   - far: dated so far ahead of our clock that nothing waits for it.
//   - mark: note that a late click may be the click of some open checkouts. The window is asked
//     which click each has when the next transaction is made, so that what waits for a transaction
//     is bounded by checkouts.
//   - restore: read the open checkouts of an earlier owner again and assert their clicks.
//
// # Files
//
//   - core.go: the core and its configuration. shard.go: a shard, and rows that Postgres refused.
//   - clicks.go: what a read of clicks brings. late.go: clicks that come too late, or may do so.
//   - ends.go, release.go: which checkouts are released.
//   - watermark.go, clock.go: event time, what is final, and events ahead of our clock.
//   - take.go: what a transaction holds. restore.go: takeover of a shard.
package join
