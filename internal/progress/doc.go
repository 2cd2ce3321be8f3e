// Package progress shows the progress of long work: on a terminal in one line that rewrites itself,
// else in a new line now and then.
package progress
