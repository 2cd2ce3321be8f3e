// Package pgtest gives tests databases of a real Postgres.
//
// New and Empty give a test a database of its own. The first of them in a test process starts one
// server for the whole process, which ends with the process and takes its data with it.
// StartTemporary starts a server of the test's own. FIRSTCLICK_PGTEST_VERSION names the major
// version; FIRSTCLICK_PGTEST=hostile gives the shared server settings that nobody expects.
package pgtest
