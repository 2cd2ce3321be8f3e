// Package window holds clicks in memory for as long as a checkout may need them, and finds the
// first one of a key in a span of event time.
//
// # Invariants
//
//   - The first click is the one with the least (time, id). Neither the order of insertion nor a
//     repetition changes it.
//   - Expire raises the floor. From then on no click before the floor is found or inserted.
//   - Everything takes logarithmic time, however many clicks a key has and in whatever order they
//     come. Whoever sends events cannot foresee how a tree is balanced: see New.
//   - Clicks hold no pointers. Ten million of them give the garbage collector nothing to scan.
//
// # Files
//
//   - window.go: the API.
//   - many.go: many insertions or look-ups at a time.
//   - stripe.go: a share of the keys, under one lock.
//   - index.go, directory.go: from a key to its groups of clicks.
//   - group.go: the clicks of one key in one bucket of event time: a chain, or a tree.
//   - bucket.go: the memory of a bucket.
package window
