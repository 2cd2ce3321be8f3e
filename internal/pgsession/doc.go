// Package pgsession opens every session with Postgres that firstclick has.
//
// What a server, a database or a role sets for its sessions (ALTER SYSTEM, ALTER DATABASE ... SET,
// ALTER ROLE ... SET) also reaches ours: a time zone in which times are printed, a timeout that
// ends a long transaction, a policy that hides rows. So each session sets what our statements
// depend on when it is made, here and nowhere else. The linter forbids other ways to open one.
//
// # Protocol
//
// Config reads a connection string and adds the settings to the startup message. They apply before
// the first statement, and RESET goes back to them. Settings that only newer versions of Postgres
// have follow in one statement that also examines the session: a pooler that shares sessions among
// its clients passes no settings on, and behind it a lock, a temporary table or a process id means
// nothing. Such a session is refused with a *PoolerError.
//
// # Invariants
//
//   - No error quotes a connection string: if it was split wrongly, any part may be the password.
//   - A connection string is refused unless every part of it is understood. One that is split
//     wrongly would send a password to a stranger.
//   - Our statements call nothing outside pg_catalog, whatever anybody creates in a schema of the
//     search_path.
//   - No setting of the role, the database, the server, the environment (PGOPTIONS, PGTZ) or the
//     connection string wins over ours.
//
// Three things stay as they are. synchronous_commit: whoever runs the server decides how durable a
// commit is, and a lost tail is found and read again. What only a superuser may set. The
// search_path is kept too, because the customer's triggers run in our sessions: see TheirPathSQL.
package pgsession
