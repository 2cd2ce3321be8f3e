// Package datagen is the event generator: it sends the clicks and checkouts of the original Python generator, to the letter of
// the wire, to Kafka, and puts its users and products in Postgres.
//
// The stream. A session is one user and one new product: a click, and then, while a coin says so (51 %), another click and a
// checkout. Everything random comes from the seed, so that the same seed, Start, Count and topic partition counts give byte for
// byte the same records with the same timestamps, in the same order per topic and on the same partitions. Knobs draw from a
// second source: turning one does not change what the others, or the plain events, look like.
//
// Event time. Event number n happens at Start + n*step, whatever the clock says when it is sent; a record's timestamp is the event
// clock at the moment it is produced, which for an event that was not held back is its event time. A generator that was stalled
// catches up, with the event times that the events should have had. Only with neither Rate, EventRate nor Count is the wall
// clock read per batch.
//
// Order. With Config.Unordered false every click is acknowledged before a checkout that follows it in the stream is produced. A
// click that a knob delays is the exception, which is the point of the knob.
//
// Counting. Summary counts what Kafka has acknowledged (in transactional mode: committed), so that a test can compare dead
// letters and rows with it to the record. Faults never pile up on one event: a duplicate is never a duplicate of a refused
// event, and an event with a conflict has no other duplicate. Hence the counts are exact whatever order partitions are read in.
package datagen
