// Package cdc mirrors commerce.users: which name does a user id have now?
//
// # Protocol
//
// A Mirror holds a publication (firstclick_users), a temporary logical replication slot and an LRU
// cache of id -> username. Creating the slot exports a snapshot. A second connection imports it and
// preloads the newest users while the slot's changes already stream in. Names that are not cached
// are read through: one query for all misses of a call. The slot is temporary: it goes with its
// connection, so that a stopped firstclick holds back no WAL. A lost connection therefore means a
// new slot and a new snapshot. Until that stream is up, names are read through and nothing is
// cached.
//
// # Invariants
//
// A streamed transaction and a snapshot meet in the cache in any order. Log sequence numbers cannot
// tell which of them is newer, because Postgres writes the WAL of a commit before the commit
// becomes visible. The transaction's visibility decides:
//
//   - A streamed transaction applies to an entry if and only if its xid is not visible in the
//     snapshot that filled the entry.
//   - A fill is refused for an id that an applied transaction has changed, if the fill's snapshot
//     does not see that transaction. The changed ids are kept in a ring. Past its end the name is
//     used but not cached.
//   - A fill is refused if its snapshot does not see all that the slot's exported snapshot sees. A
//     commit may be written before the slot's consistent point and become visible after it (it may
//     wait for a synchronous standby in between). It is not streamed, so a snapshot that does not
//     see it would stay stale for ever.
//   - Nothing that was read under one slot enters the cache of the next.
//
// The transactions of one row become visible in the order of their commit records, because a writer
// waits for the row's or the table's lock until its predecessor is visible. So the newest change of
// an id stands for all before it.
//
// The stream does not carry DDL. Cached names belong to the edition of the table that the exported
// snapshot saw, and are served under no other:
//
//   - Names returns the edition of its names. Whoever writes them compares it with what EditionSQL
//     finds in the transaction that writes. If they differ, he calls Outdated and then Names again.
//   - A table whose changes the stream would not bring whole (children, row security, UNLOGGED,
//     generated columns, a username that is not text) gets no stream: its names are read through.
//
// Passwords: the publication carries only id, username and the columns of the replica identity.
// Where that is not possible (REPLICA IDENTITY FULL, servers before 15), every column but id and
// username is overwritten with zeros in the read buffer while the message is decoded, and never
// copied.
//
// # Files
//
//   - mirror.go: Config, Stats, the loop that keeps a stream; names.go: what Names answers
//   - replicate.go: one stream with its slot, snapshot and preload; connections.go: its connections
//   - stream.go: replication messages; wiping_reader.go, pgoutput.go, fields.go: their bytes
//   - cache.go, changes.go, snapshot.go: the rules above
//   - users_table.go, publication.go, check.go, edition.go: what the catalogs must say
package cdc
