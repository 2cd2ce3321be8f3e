// Package chunk lends the memory of checkouts from their decoding until their rows are committed.
package chunk
