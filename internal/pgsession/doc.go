// Package pgsession opens every session with Postgres that firstclick has.
//
// What a server, a database or a role sets for its sessions (ALTER SYSTEM, ALTER DATABASE ... SET, ALTER ROLE ... SET) reaches ours
// as well: a time zone in which times are printed, a timeout that ends a long transaction, a policy that hides rows. So each session says
// for itself what our statements depend on, when it is made, and nowhere else. The linter forbids to open one by another way.
//
// # Protocol
//
// Config reads a connection string and adds the settings to the startup message: they stand before the first statement, and RESET goes
// back to them. What a version of Postgres may not know is set right after, in the same breath in which the session is examined: a pooler
// that shares sessions among its clients passes no settings on, and a lock, a temporary table or a process id means nothing
// behind it. Such a session is refused with a *PoolerError.
//
// # Invariants
//
//   - No part of a connection string stands in an error: where it was taken apart wrongly, any part may be the password.
//   - A connection string is refused unless every part of it is understood. One that is taken apart wrongly sends a password to a stranger.
//   - Our statements call nothing that stands outside pg_catalog, whatever anybody creates in a schema of the search_path.
//   - A setting of the role, the database, the server, the environment (PGOPTIONS, PGTZ) or the connection string never wins over ours.
//
// Left as they are: synchronous_commit, for how durable a commit is decides who runs the server,
// and a lost tail is found and read again; and what only a superuser may set. The search_path is
// kept as well, for the customer's triggers run in our sessions: see TheirPathSQL.
package pgsession
