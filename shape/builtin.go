package shape

import (
	_ "embed" // builtin.yaml
)

//go:embed builtin.yaml
var builtinText []byte

// Builtin returns the shape that is in force where none is declared: today's contract.
func Builtin() *Shape {
	s, err := Parse("builtin.yaml", builtinText)
	if err != nil { // a test parses it
		panic(err)
	}
	return s
}

// IsBuiltin says whether the shape means what the built-in one does. Decoding of such a shape
// keeps the reasons of dead letters that it has had from the beginning.
func (s *Shape) IsBuiltin() bool {
	differences, appended := Compare(Builtin(), s)
	return len(differences) == 0 && len(appended) == 0
}
