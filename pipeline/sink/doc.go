// Package sink writes to Postgres: rows, corrections, dead letters, late events and the offsets
// they belong to, in one transaction per Commit, exactly once.
//
// # Protocol
//
// A shard (a checkouts partition of a consumer group) has one row in firstclick.offsets. Claim
// takes it over under a random owner, after it has ended the sessions of the owner before. Commit
// moves it on, WHERE owner and commits are as expected, in the transaction that writes what the new
// offsets stand for. Release gives it back.
//
//	1  BEGIN; LOCK the table against ALTER, look whether it is as it was described;
//	   UPDATE offsets (one row a batch, in partition order); SAVEPOINT              one round trip
//	2  COPY commerce.attributed_checkouts FROM STDIN (rows in checkout_id order)    one round trip
//	3  corrections, unknown users, dead letters, late events; COMMIT                one round trip
//
// If the COPY fails on a checkout_id that has a row, the transaction goes back to the savepoint,
// copies the rows to a temporary table, compares those that have a row with it and inserts the
// others. From then on the sink remembers the checkout_ids that come (recentIDs): rows with a new
// id are copied straight into the table, and only the others go through the temporary one. Such
// transactions of one process go one by one (ticket). While most commits have duplicates whose id
// was not recent, the transaction also looks up first which checkout_ids have a row.
//
// When Postgres refuses rows, corrections or the COMMIT, bisect finds the ones that it refuses. A
// row that is refused with its click is tried without it, and its click is corrected then. A row
// that is refused without a click becomes a dead letter. If a correction is refused, the next click
// of the checkout is tried. Deferred constraints refuse the COMMIT: the transaction is made once
// more, and checks them after each piece (SET CONSTRAINTS). If Postgres refuses an empty piece too,
// it is not about rows: the run ends, and the error names topic, partition and offsets. If a
// trigger keeps a row out, or changes its checkout_id, the sink sees that the row is not there.
//
// # Invariants
//
//   - An offsets row moves by exactly one per transaction, so that a COMMIT without an answer can
//     be looked up. commits is one more: it is committed. Equal: it is not. Less: Postgres failed
//     over and lost its tail. Another owner: the shard was taken over.
//   - Locks are taken in one order everywhere: offsets rows by (group, topic, partition), then rows
//     by checkout_id as bytes (COLLATE "C"). Two transactions can wait for each other only if
//     somebody else writes to the tables; 40P01 is retried.
//   - A transaction's statements and its temporary table are those of the table's columns as they
//     are. An ALTER that came before is noticed by the transactions that last changed the catalogs'
//     rows. One that comes later waits for the COMMIT.
//   - No row is counted as written that is not there, and no correction as made that was not: if a
//     trigger may change rows, the sink looks.
//   - No query for names is made while a transaction is open: names are read before each attempt.
//   - A refused click costs a checkout neither its row nor its next click. The window says which
//     that is (Batch.Clicks), at most 16 times a transaction. What became of it goes back to the
//     join (Batch.Refused).
//   - A row moves only to an earlier click: every UPDATE of click columns is guarded by
//     (click_time, click_id) being less.
//   - Before anything else is tried, a session whose connection broke is ended in Postgres: it may
//     still hold its locks.
//   - What can pass (lost connections, deadlocks, a full disk, a standby) is retried for as long as
//     the context lives.
//
// # Words
//
//   - commitSet: what one Commit writes, in lock order; attempt: one transaction that writes it;
//     commitResult: what became of it
//   - fresh: written as a new row; duplicate: equal to the stored row; conflict: differs from it
//   - refused: Postgres does not take it; rejected: refused or a conflict, and so a dead letter
//   - unnamed: a row without a name, because its user is unknown
//   - unforeseen: a duplicate whose checkout_id was not recent
//   - in doubt: a transaction whose COMMIT was not answered
//   - lost sessions: sessions whose connection broke, and that Postgres may still have
//
// # Files
//
//   - types.go: what goes in and comes out; sink.go: Sink and how it uses sessions; retry.go;
//     metrics.go
//   - shards.go: claims; progress.go: the group; sessions.go: ending sessions, this instance's row
//   - commit.go: Commit and its attempts; commit_set.go: what they write, in order
//   - transaction.go: the transaction from top to bottom; then what it uses: copy_reader.go and
//     numeric.go (COPY), recent_ids.go and duplicates.go, bisect.go, refused_click.go, letters.go
//     and payloads.go
//   - indoubt.go: a COMMIT without an answer
//   - columns.go: the columns that are written; target.go: the table as it is; statements.go: the
//     statements for it
//   - unknown.go: names that are filled in later; pgvalues.go: values as Postgres takes them
package sink
