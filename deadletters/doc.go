// Package deadletters is the operator's side of the table firstclick.dead_letters: look at the
// records that could not become a row, send them again, or drop them. The sink writes the letters
// (pipeline/sink) and never reads what happens here.
//
// # Protocol
//
// A dead letter is open, retried or dropped. A retry produces the record to its topic again,
// acknowledged by all replicas, without a key and with the current time as its timestamp. Only then
// it marks the letter. After a crash in between, a letter that was sent is still open. Sending it
// once more is harmless, because both events are idempotent: a click that is there changes nothing,
// and a checkout that is there is counted.
//
// The timestamp is the current time because event times are compared with it: one that was too far
// ahead of its record is valid once its time has come. And a record with its old timestamp could be
// deleted by retention before it is read.
//
// # Invariants
//
//   - A letter is marked retried only after Kafka has acknowledged its record.
//   - A retry by a filter covers no id beyond the greatest one at its start: a record that becomes
//     a dead letter again is a new letter, which the same retry does not send.
//   - A payload that was not kept is never sent as an empty record. It is read again from Kafka at
//     its offset, and must have the letter's hash.
package deadletters
