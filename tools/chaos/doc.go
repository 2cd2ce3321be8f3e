// Command chaos breaks everything around firstclick for some minutes and then asks audit whether the table is right.
//
// A real Kafka broker and a real Postgres; one to three instances of the built binary as processes of their own, which reach both
// through toxiproxy; producers, plain and transactional, which reach Kafka straight, with every kind of bad input; users renamed and
// deleted all the while. Four lanes of faults, at the instances, at Kafka, at Postgres and at what the shop itself changes, each draw from a table by a random
// source of their own, so that a seed gives the same faults in the same order in each lane; the moments are the machine's.
//
//	make chaos ARGS="-seed 7 -duration 3m"
//	make chaos ARGS="-without no-owner-check"    # the suite itself is tested: it must go red
//
// # Protocol
//
// Start everything; feed; break and mend for the duration; mend all; stop feeding; wait until Postgres holds what Kafka does; end the
// instances; judge. A run is red when the oracle finds anything wrong, and then exits 1; exit 2 means that the suite itself could not go on.
//
// A trial (-trial) shows one thing in the place of the mixture, with figures and a limit for each, and ends with the same judgement.
//
// A run without a rule (-without) ends as soon as a witness has seen something: it is red then. What only verify can see takes the whole duration.
//
// # Invariants
//
//   - Sentinels (see feed) tell whether a row was ever written without a click that Kafka had acknowledged before. Nothing else would:
//     such a row is corrected a moment later. Therefore transactions that stay open write clicks only to partitions where no sentinel's
//     click goes, and the rates keep every clicks partition nearer to its end than what counts as a backlog (10,000 records).
//   - Witnesses are triggers in Postgres: they see what no final state shows, as a commit by an instance that does not own the shard.
//   - Every process ends with this one (package childproc).
package main
