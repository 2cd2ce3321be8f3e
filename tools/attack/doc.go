// Package attack does to a running firstclick what an attacker would, and measures what that costs.
//
// Each attack is a test with a file of its own. It runs the real binary as a process beside a Kafka
// broker (kfake, in the test's process) and a real Postgres, under --memory-limit 256MiB:
//
//	make attack
//	FIRSTCLICK_ATTACK_BINARY=old/firstclick make attack RUN=TestReaders   # another binary
//
// # Protocol
//
// [begin] starts everything and writes a row. The attack follows. [scene.end] checks what must hold
// after every attack: the process runs, its resident memory was never above 1.25 times its limit,
// and it writes the next row. The attack's own test checks the rest.
//
// # Invariants
//
//   - An attack was red before its cure: try a new one with a binary from before. Three attacks
//     never succeeded, and stay as a guard: [TestMillionClicksOfOneKey], [TestManyPartitions] and
//     [TestNoPasswordsInMemory].
//   - Attackers use no more than what they have: what the network reaches, produce rights on a
//     topic, a session of a role that may only connect.
//   - The binary ends with the test, however that ends (package childproc).
package attack
