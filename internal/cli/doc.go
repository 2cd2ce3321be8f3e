// Package cli turns the command line into calls of the other packages. It reads flags, environment
// and configuration file, reports mistakes in one line, and connects Kafka, Postgres, the pipeline
// and the page.
//
// # Where a value comes from
//
// A flag, else its environment variable, else the configuration file, else the default. An empty
// variable counts as not set. [define] defines a flag once, with the function that parses its value
// from every source, so that all sources allow the same values. [sourceOf] names the source.
// Passwords and connection strings can also come from files (KAFKA_PASSWORD_FILE,
// DATABASE_URL_FILE, PGPASSWORD_FILE); a variable and its file together are an error. No message
// and no log line quotes a value that may hold a password.
//
// # Commands
//
// A command has a constructor that [newRoot] lists, and a struct for its flags. Commands hold no
// logic of the pipeline: they fill a configuration and call.
//
// # Errors
//
// A mistake of the user is a [*UsageError] (exit code 2). Every other error is returned as it came,
// wrapped with what was being done; main maps its type to an exit code. No error is both printed
// and returned.
//
// # Files, in reading order
//
//   - cli.go: the root command
//   - settings.go, configfile.go, parse.go, memory.go: values, their sources and their parsers
//   - flags.go: the flags that several commands share
//   - errors.go, output.go, reach.go: messages, reports and logs; waiting for the servers
//   - run.go, page.go, dryrun.go, collector.go: the command run
//   - audit.go, compare.go: verify, repair, explain, compare, whatif
//   - deadletters.go, deadletters_resolve.go: list and show, retry and drop
//   - demo.go, generate.go, migrate.go, doctor.go, healthcheck.go, version.go: one command each
//   - help.go, man.go, completion.go: help, manual pages and shell completion
package cli
