// Package doctor examines Kafka and Postgres from outside: can firstclick run, and how is it doing?
// It works before anything exists and while instances run. It changes nothing on either side.
//
// # Protocol
//
// First every address of both sides is tried by itself, as configured. If one does not answer, it
// is tried in the other ways (with or without TLS and SASL) to guess what is wrong. Then facts are
// gathered from the sides that answered, in parallel, each with its own deadline. At the end checks
// read the facts. A check is a pure function, so that a test needs no broken server.
//
// # Invariants
//
//   - The report is complete within ten seconds, whatever does not answer. A fact that could not be
//     gathered is a warning that says so.
//   - A fail keeps a run from working or from being right. A warning will hurt later, or says what
//     could not be seen.
//   - What does not exist yet (topics, tables, the group) is no fail: a first run makes it or waits
//     for it.
//   - No finding shows a password.
//
// # Files
//
//   - doctor.go: the checks and the order of work; report.go: findings
//   - broker_address.go, server_address.go: what answers at an address, and why not
//   - facts.go, gather.go: what the checks read, and the order in which it is gathered
//   - brokers.go, topics.go, retention.go, record_times.go: Kafka
//   - server.go, replication.go, schema.go, permissions.go: Postgres
//   - disk.go: free disk of both
//   - stored.go, group.go, offsets.go: what firstclick stored, its instances, and both sides
//     compared
package doctor
