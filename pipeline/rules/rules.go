//go:build !chaoshooks

package rules

import "time"

// Restore says whether the checkouts that a shard's earlier owner left not final are joined again:
// docs/architecture.md#promise-4-a-restart-is-exact.
func Restore() bool { return true }

// Barrier says whether a checkout waits for end offsets that were requested after it was fetched:
// docs/architecture.md#promise-2-no-false-nulls.
func Barrier() bool { return true }

// Wall is the clock of this machine, which may be wrong. It is shown, it decides --start latest,
// and join compares event times with it.
func Wall() time.Time { return time.Now() }
