//go:build unix

package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Pause stops the broker where it stands (SIGSTOP) and returns when all its threads have stopped: its connections stay, and nothing answers.
func (b *Broker) Pause() error {
	if err := b.process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); !stopped(b.PID()); {
		if b.process.Ended(5 * time.Millisecond) {
			return errors.New("pause the Kafka broker: it has ended")
		}
		if time.Now().After(deadline) {
			return errors.New("pause the Kafka broker: it has not stopped within 10 s")
		}
	}
	return nil
}

// Resume lets a paused broker go on.
func (b *Broker) Resume() error { return b.process.Signal(syscall.SIGCONT) }

// stopped says whether every thread has stopped; a thread on another processor runs on for a moment. True where there is no /proc.
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
