// Package cli is the room where the command line becomes a call: it reads flags and environment, says what is wrong with
// them in one line, and wires Kafka, Postgres and the pipeline's packages together.
//
// # Where a value comes from
//
// A flag, else its environment variable, else the configuration file, else the default; an empty variable counts as one that is not
// set. Each flag is defined once, by [define], with the function that parses it: the same function judges the flag, the variable, the
// line of the file and the default, so that no value is allowed in one place and refused in another. [sourceOf] says which it was. Passwords and connection strings are also
// taken from files (KAFKA_PASSWORD_FILE, DATABASE_URL_FILE, PGPASSWORD_FILE); a variable and its file together are an error.
// No message and no log line quotes a value that may hold a password.
//
// # Commands
//
// A command is a file of its own with one constructor that [newRoot] lists, and a struct for what its flags say. Commands
// hold no logic of the pipeline: they fill a Config and call.
//
// # Errors
//
// What the user typed wrong is a [*UsageError] (exit 2). All else is returned as it came, wrapped with what was being done:
// main maps types to exit codes. Nothing is printed and returned both.
package cli
