// Package migrations holds the schema as embedded SQL and brings a database up to it.
//
// Protocol: Up takes a session advisory lock, creates schema firstclick for the version table
// firstclick.schema_version, and applies what is missing, each file in its own transaction. Several
// instances may start at once. Nothing alters or drops an existing table of schema commerce: the
// old pipeline's tables stay as they are.
//
// Remake makes tables again that were dropped after their migration. Up checks only versions.
package migrations
