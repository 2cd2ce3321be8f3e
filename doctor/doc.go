// Package doctor is the room where somebody looks whether firstclick can run, and how it does: at Kafka and Postgres from outside, before
// anything exists and while instances run. It changes nothing on either side.
//
// # Protocol
//
// First every address of both sides is tried by itself, as configured; one that does not answer so is tried in the other ways (TLS or not,
// SASL or not) to guess what is wrong. Then facts are gathered from the sides that answered, all at the same time, each question with a
// deadline of its own. At the end the checks judge the facts: a check is a pure function, so that what it says can be tested
// without a server that is broken in that way.
//
// # Invariants
//
//   - The report is there within ten seconds, whatever does not answer. A question without an answer is a warning that says so.
//   - A fail is what keeps a run from working, or from being right; a warning is what will hurt later, or could not be seen.
//   - What does not exist yet (topics, tables, the group) is no fail: a first run makes or awaits it.
//   - No password stands in a finding.
package doctor
