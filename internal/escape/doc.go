// Package escape makes text from strangers (event payloads, names, error messages) harmless for
// a terminal: a terminal shows the result and obeys nothing in it.
package escape
