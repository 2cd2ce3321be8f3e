// Package testbed holds what several tools need to run the product and to look at it from outside:
// the built binary, an instance of it as a process, sessions with Postgres, the ends of topics, and
// what processes use.
package testbed
