// Package shape holds the declaration of what a shop's events, lookups and rows look like.
//
// A shape is data. It says which members of a click and a checkout are its id and its time, which
// members have to be equal for a click to belong to a checkout, which tables of Postgres are looked
// up, and where each column of a row comes from. It holds no function from a record to a value:
// the rooms that decode, join, write and verify compile what they need from it, and audit compiles
// it by code of its own.
//
// No room reads a shape yet: they hold the built-in one in code. TestBuiltinIsTodaysContract keeps
// both equal.
//
// This package is the only place in the product that names a member or a column of the built-in
// shape (builtin.yaml). docs/shape.md describes the words for users.
//
// # Invariants
//
//   - Parse reports everything that is wrong with a file in one list, each entry with its line.
//   - A Shape that Parse returned is valid in itself. Whether topics and tables fit it is for
//     the rooms that see them.
//   - Text writes a shape out in full, and Parse of that text gives an equal shape.
//   - A shape that is equal to the built-in one is the built-in one, wherever it was declared.
//
// # Files
//
//   - shape.go: the types.
//   - builtin.go, builtin.yaml: today's contract.
//   - path.go: paths into a record, names of SQL.
//   - parse.go, parse_rows.go: from YAML, with lines.
//   - check.go: what words mean together.
//   - text.go: written out in full.
//   - compare.go: whether two shapes mean the same.
package shape
