//go:build !chaoshooks

package sink

// moveStatement moves a shard's position, if the shard is its owner's and as the owner left it
// (docs/architecture.md#promise-1-nothing-lost-nothing-twice).
func moveStatement() string { return moveSQL }
