// Package progress shows how far long work is: on a terminal in one line that rewrites itself, else in a line now and then.
package progress
