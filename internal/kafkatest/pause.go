//go:build unix

package kafkatest

import "syscall"

// Pause stops the broker where it stands (SIGSTOP): its connections stay, and nothing answers.
func (b *Broker) Pause() error { return b.process.Signal(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (b *Broker) Resume() error { return b.process.Signal(syscall.SIGCONT) }
