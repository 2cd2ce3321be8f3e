// Package pipeline is the main job: it reads clicks and checkouts from Kafka, joins them, and
// writes rows to Postgres.
//
// The work is done in rooms, and this package wires them:
//
//	ingest   reads both topics: clicks into the window, checkouts in chunks; end offsets, group
//	engine   decides: releases checkouts, corrects rows, forms transactions, owns shards
//	sink     writes a transaction
//	chunk    lends the memory of checkouts on their way
//	ending   the errors that end an attempt
//	rules    the clocks, and the rules that chaos can leave out
//
// ingest and engine do not import each other. ingest hands messages to the engine's Inbox, and the
// engine pauses partitions and requests end offsets, each through a small interface of its own.
//
// # Protocol
//
// A run is one attempt after another. An attempt begins at the positions in Postgres and ends when
// it is told to stop, is fenced, or finds Postgres rewound; then the next one begins. Each
// goroutine of an attempt is a component with a blocking Run(ctx) error, in one errgroup: see
// attempt.
//
// There are two kinds of Kafka clients. One is a member of the consumer group and reads checkouts.
// A partition that it is assigned is a shard: it is claimed in Postgres before its first record is
// fetched, and read from the offset that Postgres holds. The other clients, two where there are two
// cores, read all clicks partitions by direct assignment, from the least restore point of the
// group's shards.
//
// A shard is in at most one transaction at a time. When it is revoked, its transaction ends, what
// was released of it is written, and its row is handed back. When it is lost or fenced, it is
// dropped as it stands: nothing that was not committed counts.
//
// # Invariants
//
//   - Offsets come from Postgres only. Group offsets are committed for lag tools and never read.
//   - A record that was polled under one assignment is handed to the engine before a rebalance may
//     begin (BlockRebalanceOnPoll). So records of an earlier assignment cannot move a shard's
//     position.
//   - A shard's transaction holds every row, dead letter, late event and correction up to the
//     positions that it stores.
//   - No reset: an offset that Kafka no longer has is a gap, and the pipeline stops (GapError).
//
// # Files
//
//	config.go        Config, errors
//	pipeline.go      New, Run, one attempt after another
//	attempt.go       one attempt: its components, and what they report
//	group.go         the settings that are stored with a group
//	names.go         names of users who appear after their checkouts
//	database.go      the database's identity and its probe
//	stats.go         Stats, Totals
//	health.go        the checks of /readyz
//	metrics.go       what is counted here, and metrics_state.go: what is read at a scrape
//	progress.go      the line on a terminal while catching up
package pipeline
