package childproc

import "os"

// Credential is the user that the server runs as.
type Credential struct{ UID, GID uint32 }

// Config says what to run.
type Config struct {
	Args       []string    // the program and its arguments
	Dir        string      // working directory; empty: that of this process
	Env        []string    // nil: that of this process
	Log        *os.File    // stdout and stderr; nil: /dev/null
	Credential *Credential // nil: the user of this process
	EndSignal  string      // for the server when this process ends, by its shell name: INT, QUIT, KILL
	RemoveDir  string      // removed when this process ends with the server running; empty: nothing
}
