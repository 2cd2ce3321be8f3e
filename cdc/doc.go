// Package cdc mirrors commerce.users: which name does a user id have now?
//
// # Protocol
//
// A Mirror holds a publication (firstclick_users), a temporary logical replication slot and an LRU of id -> username.
// Creating the slot exports a snapshot; a second connection takes it over and preloads the newest users while the slot's
// changes already stream in. What is not in the LRU is read through: one query per call of Names, for all misses together.
// The slot is temporary: it dies with its connection, so that a stopped firstclick holds back no WAL. A lost connection
// therefore means a new slot and a new snapshot; until that stands, names are read through and nothing is cached.
//
// # Invariants
//
// A streamed transaction and a snapshot meet in the cache in any order, and log sequence numbers cannot tell which of them
// is newer: Postgres writes the WAL of a commit before the commit becomes visible. The transaction's visibility decides:
//
//   - A streamed transaction applies to an entry if and only if its xid is not visible in the snapshot that filled the entry.
//   - A fill is refused for an id that an applied transaction, invisible to the fill's snapshot, has changed. The changed ids
//     are kept in a ring. Past its end the name is used but not cached.
//   - A fill is refused whose snapshot does not see all that the slot's exported snapshot sees. A commit written before the
//     slot's consistent point, and made visible after it (a commit may wait for a synchronous standby between the two), is not
//     streamed; a snapshot that does not see it would be stale for ever.
//   - Nothing read under one slot enters the cache of the next.
//
// Nothing of this speaks of DDL, which the stream does not carry: cached names belong to the edition of the table that the exported snapshot
// saw, and are served under no other.
//
//   - Names says which edition its names are of. Whoever writes them compares it with what EditionSQL finds in the transaction that writes,
//     and where it is another one calls Outdated and asks again.
//   - A table whose changes the stream would not bring whole (children, row security, UNLOGGED, generated or other than text) has no session:
//     it is read through.
//
// One row's transactions become visible in the order of their commit records, because a writer waits for the row's (or the
// table's) lock until its predecessor is visible; so the newest change of an id stands for all before it.
//
// Passwords: the publication carries (id, username) and the identity's columns only. Where that is not possible (REPLICA
// IDENTITY FULL, servers before 15) every column but these two is overwritten with zeros in the read buffer while the
// message is decoded, and never copied.
package cdc
