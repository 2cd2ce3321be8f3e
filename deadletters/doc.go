// Package deadletters is the room where people look at the records that could become no row, send them again, or put them
// aside: the table firstclick.dead_letters from the operator's side. The pipeline writes it (pipeline/sink) and never reads
// what happens here.
//
// # Protocol
//
// A dead letter is open, retried or dropped. Retrying produces the record to its topic again, acknowledged by all replicas, without a key,
// with the time of now as its timestamp, and only then marks the letter. A crash in between leaves a letter open that was
// sent: sending it once more is harmless, for both events are idempotent (a click that is there already changes nothing; a
// checkout that is there already is counted).
//
// The timestamp is that of now because an event time is judged by it: one that was too far ahead of its record is good once
// its time has come. And a record with its old timestamp might be gone by retention before it is read.
//
// # Invariants
//
//   - A letter is marked retried only after Kafka has acknowledged its record.
//   - What is retried by a filter is bounded by the greatest id at the start: a record that becomes a dead letter again is a new
//     letter, which the same run does not pick up.
//   - A payload that was not kept is never sent as an empty record: it is read again from Kafka, by its place, and must have the letter's hash.
//   - Payloads come from strangers: Printable leaves nothing in them that a terminal obeys.
package deadletters
