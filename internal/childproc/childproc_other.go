//go:build !unix

package childproc

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// Process is a running server; there is none on this system.
type Process struct{}

// Start always fails: local servers need a Unix.
func Start(Config) (*Process, error) {
	return nil, errors.New("local servers need Linux, macOS or another Unix")
}

func (*Process) PID() int                    { return 0 }
func (*Process) Signal(syscall.Signal) error { return nil }
func (*Process) Pause() error                { return nil }
func (*Process) Resume() error               { return nil }
func (*Process) Ended(time.Duration) bool    { return true }
func (*Process) Wait(context.Context) error  { return nil }
func (*Process) Result() error               { return nil }
