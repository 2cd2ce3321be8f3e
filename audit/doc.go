// Package audit recomputes the answer from Kafka and compares it with the table. It shares no code
// with join: it has its own decoding (encoding/json), its own reading of Kafka (Fetch requests)
// and its own join (sort and scan). [Verify], [Repair], [Compare], [WhatIf] and [Explain] are its
// commands.
//
// # Protocol
//
// A command first reads Postgres in one REPEATABLE READ snapshot: progress, offsets, dead letters,
// late events, rows, users. It reads the ends of Kafka afterwards. So everything below a shard's
// stored position has had its effect on the shard's rows in the snapshot. Everything at or above
// it is pending: its effect may be there, and nobody demands it. What one shard has not read does
// not excuse the rows of another.
//
// Everything that is compared is an item, and items are sorted on disk into two streams:
//
//   - by checkout_id: a row, then its records by place. The command's policy sees one checkout_id
//     at a time. It finds missing and extra rows, duplicates, conflicts and own columns, and puts
//     the checkouts whose click is to be compared into the other stream, with the row's click.
//   - by user, product and time: the user, then clicks and checkouts. A window holds the clicks
//     that the next checkout can have. The best is the first at or after K.time - window, not
//     after K.time.
//
// Verify and Repair have one policy; Repair also writes what Verify finds explained. Compare and
// WhatIf read no table of firstclick's but what the group was begun with. Explain judges one
// checkout by Verify's rules, without the sorts: it finds the records that matter by their
// timestamps. No record is stamped earlier before its event than the group's skew (else it is a
// dead letter), so reading begins there. Nothing bounds how much later a record is stamped:
// Explain reads up to the time at which events count as late, and to the end if the verdict does
// not stand by then.
//
// Records that Kafka no longer holds may have made rows, or be their clicks: as many as records
// are gone, and of times that those can have had (loss.go). Records below the group's start may
// have made another job's rows, for which the group does not answer.
//
// # Invariants
//
//   - A row that can be known to be wrong is found wrong. A row that is right by the rules never
//     is.
//   - In memory are what the sorts may hold (Config.SortMemory), and the clicks of one user and
//     product in one window. Explain holds a bounded number of clicks and records.
//   - Verify, Compare and Explain write nothing to the customer's database: a refused row is tried
//     on a temporary table that is rolled back. Repair only ever moves a row to an earlier click,
//     and notes what Postgres refuses. WhatIf writes only a table of its own.
//
// # Files
//
//   - audit.go: Config, a run and its streams. item.go, codec.go, sort.go, cursor.go: the items and
//     how they are sorted. walk.go: the two streams.
//   - postgres.go, settings.go, snapshot.go, shard.go, entries.go, table.go, column.go: what is
//     read from Postgres. log.go, topics.go, partition.go: what is read from Kafka. decode.go,
//     json.go, values.go: events. loss.go: what Kafka has lost.
//   - verify.go, rows.go, window.go, judge.go, names.go, refused.go, trial.go, report.go,
//     digest.go: Verify. repair.go, repair_apply.go, repair_late.go: Repair.
//   - compare.go, comparison.go: Compare. whatif.go, scratch.go, outcome.go: WhatIf.
//   - explain.go, explain_*.go, click_list.go: Explain. print.go, phases.go: texts.
package audit
