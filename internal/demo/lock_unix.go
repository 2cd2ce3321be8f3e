//go:build unix

package demo

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of the open file. The system releases it when the process ends.
func lockFile(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

func interrupt(pid int) error { return syscall.Kill(pid, syscall.SIGINT) }
