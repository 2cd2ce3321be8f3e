//go:build !unix

package tether

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// Credential is the user that the server runs as.
type Credential struct{ UID, GID uint32 }

// Config says what to run.
type Config struct {
	Args       []string
	Dir        string
	Env        []string
	Log        *os.File
	Credential *Credential
	EndSignal  string
	RemoveDir  string
}

// Process is a running server; there is none on this system.
type Process struct{}

// Start always fails: local servers need a Unix.
func Start(Config) (*Process, error) {
	return nil, errors.New("local servers need Linux, macOS or another Unix")
}

// PID is 0.
func (*Process) PID() int { return 0 }

// Signal does nothing.
func (*Process) Signal(syscall.Signal) error { return nil }

// Pause does nothing.
func (*Process) Pause() error { return nil }

// Resume does nothing.
func (*Process) Resume() error { return nil }

// Ended is true.
func (*Process) Ended(time.Duration) bool { return true }

// Wait returns at once.
func (*Process) Wait(context.Context) error { return nil }

// Result is nil.
func (*Process) Result() error { return nil }
