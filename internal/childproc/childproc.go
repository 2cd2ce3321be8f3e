//go:build unix

package childproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// watcher is the shell's program. Descriptor 3 closes when the owner, this process, ends. 4 tells
// the owner about the server. The server's stdin is /dev/null, as that of any background job; its
// stdout and stderr are the watcher's.
//
// HUP is ignored. The kernel sends it to a process group with a stopped member when the group loses
// its last parent outside, and the watcher may end by it before the guard has seen the end of the
// owner. So the watcher itself reads descriptor 3 after the server's end: a line means that the
// owner lives, the end of the file that it does not. It ends the guard first, because by then the
// server's process id may be another's.
const watcher = `
signal=$1; remove=$2; shift 2
"$@" 3<&- 4>&- &
server=$!
trap '' INT HUP TERM
( read -r _ <&3; kill -$signal $server; kill -CONT $server ) 2>/dev/null 4>&- &
guard=$!
echo $server >&4
wait $server
code=$?
{ kill -KILL $guard; wait $guard; } 2>/dev/null
exec 4>&-
if ! read -r _ <&3 && [ -n "$remove" ]; then rm -rf "$remove"; fi
exit $code
`

// Process is a running server.
type Process struct {
	pid     int
	command *exec.Cmd
	owner   *os.File // closed: the watcher ends the server; a line: this process has seen its end
	status  *os.File // end of file: the server has ended

	mu     sync.Mutex // guards ended, and reading status
	ended  bool
	result error
}

// Start starts the server and returns as soon as its process exists.
func Start(config Config) (*Process, error) {
	if len(config.Args) == 0 {
		return nil, errors.New("start a server: no program")
	}
	ownerRead, owner, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	status, statusWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), ownerRead.Close(), owner.Close())
	}
	args := append([]string{"-c", watcher, "watcher", config.EndSignal, config.RemoveDir}, config.Args...)
	command := exec.Command("/bin/sh", args...)
	command.Dir, command.Env = config.Dir, config.Env
	if config.Log != nil {
		command.Stdout, command.Stderr = config.Log, config.Log
	}
	command.ExtraFiles = []*os.File{ownerRead, statusWrite}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c := config.Credential; c != nil {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID}
	}
	err = errors.Join(command.Start(), ownerRead.Close(), statusWrite.Close())
	p := &Process{command: command, owner: owner, status: status}
	if err == nil {
		if p.pid, err = readPID(status); err != nil {
			err = errors.Join(fmt.Errorf("read the process id: %w", err), command.Wait())
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", config.Args[0], err), owner.Close(), status.Close())
	}
	return p, nil
}

func readPID(status *os.File) (int, error) {
	line, err := bufio.NewReader(status).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

// PID is the process id of the server itself.
func (p *Process) PID() int { return p.pid }

// Signal sends sig to the server. A server that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", sig, p.pid, err)
	}
	return nil
}

// Ended waits up to the given time for the end of the server and says whether it has ended. It
// waits 1 ms at least: a read whose deadline has passed does not look whether there is something to
// read.
func (p *Process) Ended(within time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return true
	}
	if err := p.status.SetReadDeadline(time.Now().Add(max(within, time.Millisecond))); err != nil {
		return false
	}
	if _, err := p.status.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	p.ended = true
	_, _ = p.owner.WriteString("\n") // the watcher leaves Config.RemoveDir to this process
	_ = p.owner.Close()
	p.result = p.command.Wait()
	_ = p.status.Close()
	return true
}

// Wait waits for the end of the server, or for ctx. After the end of ctx the server still runs.
func (p *Process) Wait(ctx context.Context) error {
	for !p.Ended(20 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for the end of process %d: %w", p.pid, err)
		}
	}
	return nil
}

// Result is how the server ended, nil for exit status 0 and while it runs.
func (p *Process) Result() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

// Pause stops the server (SIGSTOP) and returns when all its threads have stopped. Its connections
// stay, and nothing answers on them.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); !stopped(p.pid); {
		if p.Ended(5 * time.Millisecond) {
			return errors.New("pause the server: it has ended")
		}
		if time.Now().After(deadline) {
			return errors.New("pause the server: it has not stopped within 30 s")
		}
	}
	return nil
}

// Resume continues a paused server.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// stopped says whether every thread of a process has stopped: the others run until the one that
// received the signal has run. Without a /proc it says yes.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended
		}
		name := strings.LastIndex(string(text), ") ") // the name in parentheses may hold anything
		if name < 0 || !strings.HasPrefix(string(text[name+2:]), "T") {
			return false
		}
	}
	return true
}
