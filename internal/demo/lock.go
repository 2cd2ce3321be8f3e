package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// BusyError says that a demo runs on the directory already.
type BusyError struct {
	Dir string
	PID string // of the other one, as it wrote it down; may be empty
}

func (e *BusyError) Error() string {
	who := ""
	if e.PID != "" {
		who = " (process " + e.PID + ")"
	}
	return fmt.Sprintf("a demo runs on %s already%s: end that one, or choose another directory with --dir", e.Dir, who)
}

// lockDir makes the directory where it is missing, and locks it until the returned file is closed or this process ends, however
// that ends. The error is a *BusyError where another process has it.
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
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock: %w", err), file.Close())
	}
	return file, nil
}

func writePID(file *os.File) error {
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

var errLocked = errors.New("locked by another process")
