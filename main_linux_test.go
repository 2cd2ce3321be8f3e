package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: what a program writes to the second is read from the first.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// shown runs the command on a terminal and returns what it wrote there.
func shown(t *testing.T, env []string, args ...string) string {
	t.Helper()
	ours, theirs := terminal(t)
	cmd := command(t, asMain, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = theirs, theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	var text strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := ours.Read(buf)
		text.Write(buf[:n])
		if errors.Is(err, syscall.EIO) { // Linux' way to say that the other side is closed
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // some fail on purpose
	return text.String()
}

func TestColoursOnATerminal(t *testing.T) {
	for name, row := range map[string]struct {
		env  []string
		args string
		want string // of what is coloured
	}{
		"error": {nil, "explode", "\x1b[31mfirstclick:\x1b[0m unknown command"},
		"help":  {nil, "run --help", "\x1b[1mUsage:\x1b[0m"},
	} {
		args := strings.Fields(row.args)
		if got := shown(t, row.env, args...); !strings.Contains(got, row.want) {
			t.Errorf("%s: %q", name, got)
		}
		if got := shown(t, append(row.env, "NO_COLOR=1"), args...); strings.Contains(got, "\x1b") {
			t.Errorf("%s, NO_COLOR: %q", name, got)
		}
	}
}
