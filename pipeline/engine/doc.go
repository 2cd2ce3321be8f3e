// Package engine decides. One goroutine owns join.Core: it takes what was read, releases checkouts,
// notes late events, and forms transactions, which committers write.
//
// # Protocol
//
// Messages come through the Inbox, each through a channel of its type. After each message the
// engine releases what need not wait any longer, and gives idle committers what is ready. So there
// is no timer, and load makes transactions large: while one is in flight the next one grows.
//
// Owner claims the partitions that the group assigns, in the group's goroutine, and hands them
// over. Restorer reads again the checkouts that a shard's earlier owner left not final. New rows do
// not wait for that.
//
// # Invariants
//
//   - Only Engine.Run touches the core and the shards, except for the core's methods that are safe
//     for concurrent use.
//   - A shard is in at most one transaction at a time.
//   - A batch's position is read after everything up to it is in the batch.
//   - A transaction that passes a click holds the click's dead letter, unless Postgres is known to
//     have it (see clickLetters).
//   - No partition is paused that the oldest waiting checkout needs, and no shard that holds
//     nothing.
//
// # Files, in reading order
//
//	inbox.go         the messages
//	engine.go        New's Config; Run and what it does with each message
//	start.go         where an attempt begins
//	stored.go        what Postgres holds of the group
//	claim.go         Owner: claims; stored times that lie ahead of every clock
//	shards.go        a shard and its batch
//	batches.go       release, commit sets, what follows a commit
//	commit.go        Committer
//	letters.go       dead letters of clicks
//	restore.go       Restorer
//	backpressure.go  pauses
//	targets.go       the end of a run until caught up
//	status.go        Status, and the last rows; lag.go: how far it is behind
//	metrics.go       what is counted; latency.go: a histogram that is cheap
package engine
