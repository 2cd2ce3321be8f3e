// Package testbed holds what several tools need to run the product: the repository's root and the
// built binary.
package testbed
