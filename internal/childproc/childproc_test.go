//go:build unix

package childproc

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// As the owner of a server: start it, say who it is, stay until killed.
	if dir := os.Getenv("CHILDPROC_OWNER"); dir != "" {
		p, err := Start(Config{Args: []string{"/bin/sleep", "600"}, EndSignal: os.Getenv("CHILDPROC_SIGNAL"),
			RemoveDir: dir})
		if err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0) // without stopping the server
	}
	goleak.VerifyTestMain(m)
}

func TestServerEndsWithItsOwner(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, owner *exec.Cmd, server int){
		"kill -9": func(t *testing.T, owner *exec.Cmd, _ int) {
			if err := owner.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
		"kill -9 while the server is stopped": func(t *testing.T, owner *exec.Cmd, server int) {
			if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if err := owner.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			owner := exec.Command(os.Args[0])
			owner.Env = append(os.Environ(), "CHILDPROC_OWNER="+dir, "CHILDPROC_SIGNAL=TERM")
			out, err := owner.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := owner.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			server, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			end(t, owner, server)
			_ = owner.Wait()
			eventually(t, "the server has ended", func() bool {
				return errors.Is(syscall.Kill(server, 0),
					syscall.ESRCH)
			})
			eventually(t, "its directory is gone", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
		})
	}
}

func TestResult(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, err := Start(Config{Args: []string{"/bin/sh", "-c",
		"echo said; ls /proc/self/fd /dev/fd 2>/dev/null | wc -l >&2; exit 7"}, Log: log, EndSignal: "KILL"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if !errors.As(p.Result(), &exit) || exit.ExitCode() != 7 {
		t.Errorf("result %v, want exit status 7", p.Result())
	}
	said, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(said), "said\n") {
		t.Errorf("log %q", said)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestSignalReachesTheServer(t *testing.T) {
	p, err := Start(Config{Args: []string{"/bin/sleep", "600"}, EndSignal: "KILL"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Ended(10 * time.Millisecond) {
		t.Fatal("ended by itself")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(syscall.Kill(p.PID(), 0), syscall.ESRCH) {
		t.Error("the process is still there")
	}
}

func TestMissingProgram(t *testing.T) {
	p, err := Start(Config{Args: []string{"/nowhere/server"}, EndSignal: "KILL"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.Result() == nil {
		t.Error("a program that is not there ended well")
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// Who only looks, and does not wait, must see the end too.
func TestEndedWithoutWaiting(t *testing.T) {
	p, err := Start(Config{Args: []string{"/bin/sleep", "600"}, EndSignal: "KILL"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Ended(0) {
		t.Error("ended says a server that runs")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !p.Ended(0); {
		if time.Now().After(deadline) {
			t.Fatal("the server was killed a minute ago and still counts as running")
		}
	}
}

// A server that is paused does nothing until it may go on.
func TestPause(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, err := Start(Config{Args: []string{"/bin/sh", "-c", "while :; do echo; done"}, Log: log, EndSignal: "KILL"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(p.Signal(syscall.SIGKILL), p.Wait(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	size := func() int64 {
		info, err := log.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for range 5 {
		before := size()
		eventually(t, "it is at work", func() bool { return size() > before })
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		paused := size()
		if p.Ended(50*time.Millisecond) || size() != paused {
			t.Errorf("it wrote %d bytes while it was paused", size()-paused)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
	}
}
