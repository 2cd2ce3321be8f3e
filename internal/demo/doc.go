// Package demo runs everything on one machine with nothing to install: a Kafka broker in this
// process, a real Postgres, the generator and the pipeline. It shows the rows as they come.
//
// # Order
//
// It first locks the directory: two demos with one directory would damage each other's data. Broker
// and Postgres start at the same time, then the tables, then pipeline and generator. At the end
// generator, pipeline, Postgres and broker stop in this order, one after the other, so that nothing
// writes to what has stopped.
//
// # Restart
//
// The directory holds the data of Kafka and of Postgres. Both sync every write, so that even after
// kill -9 or a power cut neither has something that the other has lost. A Postgres that outlived
// its demo is stopped first. The generator begins with a new seed and event times from now on: the
// same events again would be conflicts.
//
// # Bounds
//
// Records are kept for keepRecords, more than window + lateness: no row needs an older one. Rows,
// dead letters and other rows of ours are kept for keepRows, which is longer. So there may be rows
// without records, which verify calls unverifiable, but no records without rows. Hence records are
// deleted first, then rows.
//
// # Files, in reading order
//
// config.go and demo.go (start, parts, stop), lock.go, ports.go, broker.go, postgres.go, bound.go,
// page.go and faults.go (what the page can break), greet.go and view.go (what people read).
package demo
