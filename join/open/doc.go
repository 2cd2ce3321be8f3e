// Package open holds the open checkouts of a shard: those that were released and whose click may
// still move to an earlier one.
//
// A late click only marks the open checkouts that it may concern. When the next transaction is
// made, the marked ones are looked up in the window, so many at a time. So what waits for a
// transaction is bounded by checkouts, not by clicks times checkouts.
//
// # Invariants
//
//   - A click is marked if it is better for some open checkout. A sweep of marks ends, however fast
//     new ones come.
//   - Everything takes logarithmic time, however many checkouts a key has. A click that improves
//     nothing is turned away at the root of the key's tree.
//   - Checkouts hold no pointers.
//
// # Files
//
//   - checkouts.go: the API, and expiry.
//   - marks.go: marks, and the sweep that looks them up.
//   - tree.go: the checkouts of one key.
//   - store.go: memory.
package open
