// Package migrations holds the schema as embedded SQL and brings a database up to it.
//
// Protocol: Up takes a session advisory lock, creates schema firstclick for the version table firstclick.schema_version, and
// applies what is missing, each file in a transaction of its own; several instances may start at once. Nothing alters or drops a table of
// schema commerce that already stands: the old pipeline's tables are taken as they are.
//
// Remake makes again what was dropped afterwards; Up looks at versions only.
package migrations
