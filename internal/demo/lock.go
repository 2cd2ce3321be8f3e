package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// BusyError says that another demo uses the directory.
type BusyError struct {
	Dir string
	PID string // of the other demo; may be empty
}

func (e *BusyError) Error() string {
	who := ""
	if e.PID != "" {
		who = " (process " + e.PID + ")"
	}
	return fmt.Sprintf("a demo runs on %s already%s: end that one, or choose another directory with --dir", e.Dir, who)
}

// lockDir makes the directory if it is missing, and locks it until the returned file is closed or
// this process ends. The error is a *BusyError if another process has the lock.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the demo's directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the demo's directory: %w", err)
	}
	if err := lockFile(file); err != nil {
		defer file.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("lock the demo's directory: %w", err)
		}
		text, _ := io.ReadAll(io.LimitReader(file, 32)) // only for the message
		return nil, &BusyError{Dir: dir, PID: strings.TrimSpace(string(text))}
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock: %w", err), file.Close())
	}
	return file, nil
}

var errLocked = errors.New("locked by another process")
