// Command vulndb makes a database for govulncheck out of the Go module golang.org/x/vulndb, whose
// data/osv holds the reports of the Go vulnerability database. So govulncheck can run where only
// modules can be fetched, with reports as old as the module's newest version.
//
// The form is that of https://go.dev/doc/security/vuln/database: ID/*.json, and an index of modules
// and one of reports.
//
// Its second use is to judge what govulncheck found: a module is for us to mend and fails; Go's own
// packages are mended by a newer Go.
package main
