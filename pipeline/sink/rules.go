//go:build !chaoshooks

package sink

// moveStatement moves a shard's position, if the shard is its owner's and as the owner left it
// (promise 1).
func moveStatement() string { return moveSQL }
