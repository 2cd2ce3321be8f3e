// Package ingest reads from Kafka, and nothing else: it knows neither Postgres nor what becomes of
// a record.
//
// # Protocol
//
// Clicks go from a poll through the decoder into the window, in the goroutines of their partitions.
// After that the engine is told how far was read. Checkouts are decoded into chunks and handed to
// the engine. For each poll of checkouts a new request for the end offsets of clicks begins; the
// engine releases a checkout once the clicks are read up to the answer
// (docs/architecture.md#promise-2-no-false-nulls).
//
// # Invariants
//
//   - The request for end offsets that a checkout waits for began after the checkout was fetched.
//   - The group cannot rebalance between a poll of checkouts and its handing over.
//   - A record is recycled after it is decoded. Nothing keeps its memory.
//   - Only an offset that is known to be gone, and was never read, is a gap.
//
// # Files, in reading order
//
//	kafka.go       the clients of an attempt; a client's options
//	topics.go      metadata; waiting for the topics
//	offsets.go     requests for offsets and leader epochs
//	start.go       where a new group begins
//	poll.go        what a poll brings: errors, unreadable batches, pieces
//	clicks.go      a click's way into the window
//	checkouts.go   a checkout's way to the engine
//	group.go       the consumer group: assignment, revocation, session timeout
//	ends.go        end offsets: Barrier, Wake
//	again.go       checkouts that are read again for a restore
//	letters.go     dead letters
//	run.go         what outlives an attempt: membership.go, refusals.go, metrics.go, and reading.go:
//	               how far each partition is read, and troubles that are logged once
//	buffers.go     memory of the clients
package ingest
