// Command chaos breaks everything around firstclick for some minutes, and then lets audit check the
// table.
//
// It runs a real Kafka broker, a real Postgres, and one to three instances of the built binary as
// processes. The instances reach both servers through toxiproxy. Producers, plain and
// transactional, send every kind of bad input straight to Kafka. Users are renamed and deleted all
// the while. Four lanes break the instances, Kafka, Postgres, and what the shop itself changes.
// Each lane draws its faults from a table by a random source of its own: a seed gives the same
// faults in the same order in each lane. The moments depend on the machine.
//
//	make chaos ARGS="-seed 7 -duration 3m"
//	make chaos ARGS="-without no-owner-check"    # the suite itself is tested: it must go red
//
// # Protocol
//
// Start everything and feed it. Break and mend for the duration. Mend everything and stop feeding.
// Wait until Postgres holds what Kafka does. End the instances and judge. Exit code 1: the run is
// red, because the oracle found something wrong. Exit code 2: the suite itself could not go on.
//
// A trial (-trial) shows one thing instead of the mixture, with figures and a limit for each. The
// same judgement follows.
//
// A run without a rule (-without) ends as soon as a witness has noted something: then it is red.
// What only verify can see takes the whole duration.
//
// # Invariants
//
//   - Sentinels (see feed.go) show whether a row was ever written without a click that Kafka had
//     acknowledged before. Nothing else would: such a row is corrected a moment later. Therefore
//     the clicks of transactions that stay open go only to partitions without sentinels. And the
//     rates keep every clicks partition nearer to its end than a backlog's 10,000 records.
//   - Witnesses are triggers in Postgres. They note what no final state shows, such as a commit by
//     an instance that does not own the shard.
//   - Every process ends with this one (package childproc).
//
// # Files
//
// main.go reads the flags and runs the suite; world.go starts everything; instances.go, network.go,
// faults.go, shop.go and disk.go hold the faults; feed.go produces; oracle.go and witnesses.sql
// judge; trials.go lists the trials, each in its own file; switches.go the rules that can be left
// out.
package main
