// Package demo runs everything on one machine with nothing to install: a Kafka broker in this process, a real Postgres, the
// generator and the pipeline, and shows the rows as they come.
//
// # Order
//
// The directory is locked first: two demos on one directory would ruin each other's data. Broker and Postgres start at the same
// time, then the tables, then pipeline and generator. At the end, whatever ends it: generator, pipeline, Postgres, broker;
// each is waited for before the next is stopped, so that nothing writes to what is gone.
//
// # Going on
//
// Kafka's data and Postgres' data lie side by side in the directory, both synced with each write, so that also after kill -9 or
// a power cut neither knows of something that the other has lost. A Postgres that outlived its demo is stopped first. The
// generator begins anew each time, with a new seed and event times from now on: the same events again would be conflicts.
//
// # Bounds
//
// Kafka keeps records for keepRecords, more than window + lateness, so that no record is dropped that a row can still need; never
// one behind a record that is to stay, which kfake's own retention does.
// Rows, dead letters and the like are kept for keepRows, longer than Kafka keeps the records: verify then finds rows without
// records, which it calls unverifiable, and never records without rows. Hence records are dropped first, then rows.
package demo
