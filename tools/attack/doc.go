// Package attack does to a running firstclick what somebody would who wants to harm it, and measures what that costs.
//
// Each attack has a file of its own and is a test of the real binary, which runs as a process of its own beside a Kafka broker (kfake, in the test's
// process) and a real Postgres, under --memory-limit 256MiB:
//
//	make attack
//	FIRSTCLICK_ATTACK_BINARY=old/firstclick make attack RUN=TestReaders   # another binary, such as an older one
//
// # Protocol
//
// [begin] starts all of it and writes a row; the attack follows; [scene.end] judges what every attack has to leave behind: a process that runs, whose
// resident memory was never above 1.25 times its limit, and which writes the next row. What an attack is for is judged by its own test.
//
// # Invariants
//
//   - An attack was red before its cure: whoever adds one tries it with a binary from before. Those of [TestMillionClicksOfOneKey], [TestManyPartitions] and
//     [TestNoPasswordsInMemory] were tried and came to nothing; they keep it so.
//   - Attackers use no more than what they have: what the network reaches, produce rights on a topic, a session of a role that may only connect.
//   - The binary is ended with the test, however that ends (package childproc).
package attack
