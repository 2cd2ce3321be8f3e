// Package pgserver runs a real Postgres as a child process: for the demo, for tests and for tools.
//
// # Protocol
//
// Start runs a server whose data stay in a directory. It finds installed programs (PATH, then the
// usual directories, newest first), or downloads them by embedded-postgres. initdb runs once per
// machine and version into a cache; each new server begins with a copy.
//
// Postgres refuses to run as root. As root, everything runs as the user postgres, or nobody: data
// and programs then lie where that user can read them, which /root is not.
//
// # Invariants
//
//   - A server ends at the latest with this process (package childproc).
//   - It listens on 127.0.0.1 alone, without a socket file. wal_level is logical.
//   - The superuser is postgres, with the password postgres.
//   - No goroutine of this package runs between calls.
package pgserver
