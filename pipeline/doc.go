// Package pipeline reads clicks and checkouts from Kafka, lets join decide, and has sink write: the main job.
//
// # Protocol
//
// Two kinds of Kafka clients. One is a member of the consumer group and reads checkouts; an assigned partition is a shard, taken over in
// Postgres (sink.Claim) before its first record is fetched, from the offset that Postgres holds, never from Kafka's. The
// others, two where there are two cores, read every clicks partition by direct assignment, from the least restore point of the group's shards.
//
//	clicks readers   decode, insert into the window, tell the core how far they read       (one goroutine a partition of a poll)
//	checkouts reader decodes, hands over, lets the group rebalance only in between
//	asker            asks where the clicks partitions end, whenever a checkout waits, and aside where the checkouts partitions do
//	historian        reads again the checkouts that an earlier owner of a shard left not final
//	core loop        the only goroutine that touches join.Core: releases, corrects, builds batches
//	committers       one transaction each; while one is under way the next batch grows (natural batching)
//
// A shard is in at most one transaction at a time. When it is revoked, the transaction under way ends, what was released is written,
// the offsets row is let go; when it is lost or fenced it is dropped as it stands: nothing that was not committed counts.
//
// # Invariants
//
//   - Offsets are taken from Postgres only. Group offsets are committed for lag tools and never read.
//   - A record that was polled under one assignment is handed to the core before a rebalance may begin (BlockRebalanceOnPoll), so
//     that records of an earlier assignment can't move a shard's position.
//   - A shard's transaction holds every row, dead letter, late event and correction up to the positions it stores.
//   - No reset: an offset that Kafka no longer has is a gap, and the pipeline stops (GapError).
package pipeline
