// Package datagen generates events. It sends the clicks and checkouts of the original Python
// generator to Kafka, in the same bytes, and inserts its users and products into Postgres.
//
// Stream. A session is a user and a new product: a click, and then, while a coin says so (51 %),
// another click and a checkout. All randomness comes from the seed: the same seed, Start, Count and
// partition counts give the same records byte for byte, with the same timestamps, in the same order
// per topic and on the same partitions. Faults draw from a second source: they do not change what
// other faults or the plain events look like.
//
// Event time. Event number n happens at Start + n*step, whenever it is sent. The timestamp of a
// record is the event clock when it is produced: the event time, unless the event was held back. So
// a generator that was stalled catches up with the right event times. Only without Rate, EventRate
// and Count is the wall clock read, once per batch.
//
// Order. Without Config.Unordered every click is acknowledged before a checkout that follows it is
// produced, except a click that a fault holds back.
//
// Counting. Summary counts what Kafka has acknowledged (with transactions: committed), so that a
// test can compare dead letters and rows with it exactly. No event has two faults that would make
// counts depend on the order of reading: a refused event has no duplicate, and an event with a
// conflict has no other duplicate.
//
// Files, in reading order: config.go, run.go and pace.go (a run), script.go (the stream), pool.go
// and encode.go (values and bytes), poison.go (bad records), batch.go and produce.go (sending and
// counting), topics.go, people.go, progress.go and summary.go.
package datagen
