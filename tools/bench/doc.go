// Command bench measures the pipeline against what it cannot beat: reading the same records and
// copying the same rows.
//
// It starts a real Kafka broker and a real Postgres (fsync on) in a temporary directory and lays
// down one workload. Then the phases take turns, round by round, so that a slow minute of the
// machine hits all of them:
//
//	read         franz-go reads both topics, nothing else
//	decode       the same, and every record is decoded as the pipeline does
//	copy         binary COPY of the finished rows into the emptied table, one connection, one transaction, in order of arrival
//	copy-2       the same rows by two connections at once
//	copy-again   copy once more: what the two differ by is noise, and no smaller difference means anything
//	copy-sorted  the same in order of checkout_id, which is kinder to the index
//	drain        `firstclick run --until-caught-up` as a process of its own with a fresh group, from start to exit
//
// With -watched the drain takes turns with itself: alone, and with three pages open and a scrape a
// second.
//
// Besides: -live measures the latency of loads in real time, -scale how cost grows along one
// dimension; docs/benchmarks.md says how.
//
// What always holds: before each phase that writes, the tables are emptied and a checkpoint is
// taken. The right answer is computed apart, by SQL over the events as encoding/json reads them,
// and after each phase that writes the table is compared with it: a wrong answer fails the bench,
// it is not a time.
//
// CPU of read and decode is this process's; CPU of drain is the child's, without Postgres and
// Kafka. Its peak memory is VmHWM where the system tells it: ru_maxrss of a child also counts what
// its parent held when it was started.
package main
