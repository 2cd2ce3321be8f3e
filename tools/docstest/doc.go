// Package docstest holds the documents against the program. It has tests only.
//
// Every command in every page (fenced blocks of sh and sql, and commands in running text) is run
// against a Kafka and a Postgres, or, where it cannot run in a test (a demo without end, docker,
// another program's command), checked against what would run it: make's own targets, the real
// command line, the flags that a program's source defines. A command of which neither can be said
// fails. The rights that SECURITY.md grants are granted from that page itself, and everything is
// run with them.
//
// Invariants: a page is read as it stands, no command is written a second time here; a new page is
// found by itself.
package docstest
