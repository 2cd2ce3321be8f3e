//go:build !chaoshooks

package pipeline

import "time"

// reasserts: what a shard's earlier owner left not final is asserted again (promise 4).
func reasserts() bool { return true }

// releaseRule: a checkout waits for the ends asked for after it was fetched (promise 2).
func releaseRule() bool { return true }

// wall is the clock of this machine. What it says is shown and told, and decides --start latest; nothing else hangs on it: it may be wrong.
func wall() time.Time { return time.Now() }
