// Package sink is everything that is written to Postgres: rows, corrections, dead letters, late events and the offsets they
// belong to, in one transaction per Commit, exactly once.
//
// # Protocol
//
// A shard (a checkouts partition of a consumer group) has one row in firstclick.offsets. Claim takes it over under a random
// owner, after the sessions of the owner before are ended; Commit moves it on, WHERE owner and commits are as expected, in the
// transaction that writes what the new offsets stand for; Release lets it go.
//
//	1  BEGIN; LOCK the table against ALTER, look whether it is as it was described;
//	   UPDATE offsets (one row a batch, in partition order); SAVEPOINT               one round trip
//	2  COPY commerce.attributed_checkouts FROM STDIN (rows in checkout_id order)     one round trip
//	3  corrections, unknown users, dead letters, late events; COMMIT                 one round trip
//
// Where the COPY meets a checkout_id that has a row, the transaction goes back to the savepoint, copies to a temporary table, compares
// what has a row with it and inserts the rest. From then on the checkout_ids that come are remembered (see familiar): rows with a new one are copied
// straight into the table, and only what is familiar goes through the temporary one; such transactions of one process take turns. While most commits
// meet duplicates that were not familiar, it also asks first which checkout_ids have a row.
//
// Whatever Postgres says when rows, corrections or the COMMIT are tried, it is found by halves of
// whom it says so (see byHalves): single rows become dead letters, and of single corrections the
// next click of the checkout is tried. A row that is refused with its click is tried without it,
// and its click is corrected then. COMMIT is refused by what is deferred: the transaction is made
// once more, and asks for that after each piece (SET CONSTRAINTS). What Postgres says of no row at
// all, it says of everything: that ends the run, and names topic, partition and offsets. A trigger
// that keeps a row out, or changes its checkout_id, is seen by the row's not being there.
//
// # Invariants
//
//   - An offsets row moves by exactly one per transaction, so that a COMMIT whose answer was lost can be looked up: commits +1, it
//     landed; equal, it did not; less, Postgres failed over and lost its tail; another owner, the shard was taken over.
//   - Locks are taken in one order everywhere: offsets rows by (group, topic, partition), then rows by checkout_id as bytes (COLLATE "C").
//     Two transactions can wait for each other only if somebody else writes to the tables; 40P01 is retried.
//   - A transaction's statements and its temporary table are those of the table's columns as they are: an ALTER that came before is noticed, by the
//     transactions that last changed the catalogs' rows, and one that comes later waits for the COMMIT.
//   - No row is counted as written that is not there, and no correction as made that was not: where a trigger may meddle, it is looked.
//   - No query is made for names while a transaction is open: names are asked for once per Commit, before it begins.
//   - A refused click costs a checkout neither its row nor its next click: which that is the window is asked (Batch.Clicks), at most 16 times a
//     transaction, and what became of it goes back to the core (Batch.Refused).
//   - A row moves only to an earlier click: every UPDATE of click columns is guarded by (click_time, click_id) being less.
//   - Before anything else is tried, a session whose connection broke is ended in Postgres: it may stand there with its locks.
//   - What can pass (lost connections, deadlocks, a full disk, a standby) is retried for as long as the context lives.
package sink
