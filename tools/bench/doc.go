// Command bench measures the pipeline against what it cannot beat: reading the same records and
// copying the same rows.
//
// It starts a real Kafka broker and a real Postgres (fsync on) in a temporary directory and lays
// down one workload. Then the phases take turns, round by round: a slow minute of the machine hits
// all of them.
//
//	read         franz-go reads both topics, nothing else
//	decode       the same, and every record is decoded as the pipeline does
//	copy         binary COPY of the finished rows into the emptied table, in order of arrival
//	             (one connection, one transaction)
//	copy-2       the same rows by two connections at once
//	copy-again   copy once more: what the two differ by is noise
//	copy-sorted  copy in order of checkout_id, which suits the index better
//	drain        `firstclick run --until-caught-up` as a process of its own with a fresh group
//	             (from start to exit)
//
// -watched lets the drain take turns with itself, alone and with three pages open and a scrape a
// second. -live measures the latency of loads in real time, -scale how cost grows along one
// dimension. docs/benchmarks.md says how.
//
// # Invariants
//
//   - Before each phase that writes, the tables are emptied and a checkpoint is taken.
//   - SQL computes the right answer over the events as they are in Kafka. After each phase that
//     writes, the table is compared with it. A wrong answer fails the bench.
//   - The CPU of read and decode is that of this process. The CPU of drain is the child's,
//     without Postgres and Kafka.
package main
