// Package audit recomputes the answer from Kafka and compares it with the table, by code that shares nothing with join/
// and pipeline/: its own decoding (encoding/json), its own reading of Kafka (plain Fetch requests), its own join (sort and scan).
//
// # Protocol
//
// Verify takes one REPEATABLE READ snapshot of Postgres first (progress, offsets, dead letters, late events, rows, users)
// and asks Kafka for the ends afterwards. So everything below a shard's stored position must have had its effect on the shard's rows in the
// snapshot, and everything at or above it is pending for them: allowed to be there, not demanded. What one shard has not read is no excuse
// for the rows of another.
//
// What Kafka no longer holds may have made rows, or be their clicks: as many as records are gone, and of times that those can have had (loss.go). What lies
// below the group's start may have made another job's rows: the group does not answer for them.
//
// Then everything is a sort on disk and a merge of sorted streams; the memory needed depends on the sort budget, not on the data:
//
//  1. rows by checkout_id, checkouts by checkout_id: merged, they give missing and extra rows, duplicates, conflicts, own columns;
//  2. checkouts with their row's click by (user, product, time), clicks by (user, product, time, click_id): the best click of a
//     checkout is the first one at or after K.time - window, if it is not after K.time. The clicks of one key and window are in memory;
//  3. rows without a name by user, users by id: names that should have been filled in.
//
// Explain does the same for one checkout, without the sorts: records that can matter are found by their timestamps. None is stamped
// further before its event than the group's guard, five minutes by default (it would be a dead letter), so that is where reading begins, soundly. How much later a record
// is stamped nothing bounds: it is read up to the time at which events count as late, and to the end where the verdict
// does not stand by then.
//
// # Invariants
//
// A row that can be known to be wrong is found wrong, and one that is right by the rules never is.
//
// Nothing is written to the customer's database by Verify and Explain (a refused checkout or click
// is tried on a temporary table that is rolled back). Repair only ever moves a row to an earlier
// click, and notes what Postgres refuses.
package audit
