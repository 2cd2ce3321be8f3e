//go:build unix

package tether

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The server's stdin is /dev/null, as of any background job of a shell that is not interactive; its stdout and stderr are the
// watcher's. 3 is the pipe that closes when our owner ends, 4 the one that tells our owner about the server. HUP is ignored
// because the kernel sends it to a process group with a stopped member when the group's last parent outside ends; the server
// may end by it before the guard has looked. So whether the owner has ended is asked of the pipe, after the server's end: a
// line says that the owner is there, the end of the file that it is not. The guard is ended first: the server's process id may
// by then be another's.
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

// Credential is the user that the server runs as.
type Credential struct{ UID, GID uint32 }

// Config says what to run.
type Config struct {
	Args       []string    // the program and its arguments
	Dir        string      // working directory; empty: ours
	Env        []string    // nil: ours
	Log        *os.File    // stdout and stderr; nil: /dev/null
	Credential *Credential // nil: our own user
	EndSignal  string      // sent to the server when this process ends, by its shell name: INT, QUIT, KILL
	RemoveDir  string      // removed when this process ends without having stopped the server; empty: nothing
}

// Process is a running server.
type Process struct {
	pid     int
	command *exec.Cmd
	leash   *os.File // closed: the watcher ends the server; a line: we have seen its end
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
	leashRead, leash, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	status, statusWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), leashRead.Close(), leash.Close())
	}
	args := append([]string{"-c", watcher, "watcher", config.EndSignal, config.RemoveDir}, config.Args...)
	command := exec.Command("/bin/sh", args...)
	command.Dir, command.Env = config.Dir, config.Env
	if config.Log != nil {
		command.Stdout, command.Stderr = config.Log, config.Log
	}
	command.ExtraFiles = []*os.File{leashRead, statusWrite}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if config.Credential != nil {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: config.Credential.UID, Gid: config.Credential.GID}
	}
	err = errors.Join(command.Start(), leashRead.Close(), statusWrite.Close())
	p := &Process{command: command, leash: leash, status: status}
	if err == nil {
		err = p.readPID()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", config.Args[0], err), leash.Close(), status.Close())
	}
	return p, nil
}

func (p *Process) readPID() error {
	line, err := bufio.NewReader(p.status).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("read the process id: %w", err), p.command.Wait())
	}
	p.pid, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("read the process id: %w", err)
	}
	return nil
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

// shortest is the least time that Ended waits: a read whose deadline has passed does not look whether there is something to read.
const shortest = time.Millisecond

// Ended waits up to the given time, 1 ms at least, for the end of the server and says whether it has ended.
func (p *Process) Ended(within time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return true
	}
	if err := p.status.SetReadDeadline(time.Now().Add(max(within, shortest))); err != nil {
		return false
	}
	if _, err := p.status.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	p.ended = true
	_, _ = p.leash.WriteString("\n") // we are here and know: the watcher leaves Config.RemoveDir to us
	_ = p.leash.Close()
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
