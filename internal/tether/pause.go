//go:build unix

package tether

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Pause stops the server where it stands (SIGSTOP) and returns when all its threads have stopped: its connections stay, and nothing answers.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); !stopped(p.PID()); {
		if p.Ended(5 * time.Millisecond) {
			return errors.New("pause the server: it has ended")
		}
		if time.Now().After(deadline) {
			return errors.New("pause the server: it has not stopped within 30 s")
		}
	}
	return nil
}

// Resume lets a paused server go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// stopped says whether every thread has stopped: until the one that was sent the signal has run, a while later on a busy machine, the others run on.
// True where there is no /proc.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it ended meanwhile
		}
		name := strings.LastIndex(string(text), ") ") // in parentheses, and may hold anything
		if name < 0 || !strings.HasPrefix(string(text[name+2:]), "T") {
			return false
		}
	}
	return true
}
