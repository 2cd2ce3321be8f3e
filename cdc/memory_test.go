//go:build linux && !race

package cdc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"firstclick/internal/pgtest"
)

// window reads a part of our memory into one buffer outside of the heap, and returns it byte by
// byte.
type window struct {
	memory   *os.File
	buf      []byte
	r, w     int
	at, end  int64
	skip, to int64 // the buffer itself
}

func (m *window) ReadByte() (byte, error) {
	for m.r == m.w {
		if m.at >= m.end || m.at >= m.skip && m.at < m.to {
			return 0, io.EOF
		}
		n, err := m.memory.ReadAt(m.buf[:min(int64(len(m.buf)), m.end-m.at)], m.at)
		if n == 0 && (errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF)) {
			return 0, io.EOF // not mapped any more, or the kernel's own
		}
		if n == 0 {
			return 0, err
		}
		m.r, m.w, m.at = 0, n, m.at+int64(n)
	}
	c := m.buf[m.r]
	m.buf[m.r] = 0
	m.r++
	return c, nil
}

// inOurMemory counts the passwords in all memory of this process: heap, freed heap, stacks,
// buffers.
// https://man7.org/linux/man-pages/man5/proc_pid_mem.5.html
func inOurMemory(t *testing.T) (count int, read int64) {
	t.Helper()
	buf, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(buf) }()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	skip := int64(uintptr(unsafe.Pointer(&buf[0])))
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil ||
			!strings.HasPrefix(rights, "rw") {
			continue // read-only memory holds nothing that was received
		}
		parts := [][2]int64{{from, to}}
		if from <= skip && skip < to { // adjacent regions are one line
			parts = [][2]int64{{from, skip}, {skip + int64(len(buf)), to}}
		}
		for _, p := range parts {
			count += secrets(t, &window{memory: memory, buf: buf, at: p[0], end: p[1], skip: skip, to: skip +
				int64(len(buf))})
			read += p[1] - p[0]
		}
	}
	return count, read
}

// TestPasswordsInProcessMemory: under REPLICA IDENTITY FULL passwords reach the socket. None is
// left in memory, freed memory included: while the stream stands, after it was cut within a
// transaction, and after the end.
//
// It does not run under the race detector, whose memory takes minutes to search. It runs in its own
// process, whose goroutines no signal interrupts: if one is interrupted while it copies, the kernel
// saves its registers on the signal stack, where some 100 bytes stay until the thread's next
// signal.
func TestPasswordsInProcessMemory(t *testing.T) {
	const quiet = "asyncpreemptoff=1"
	if !strings.Contains(os.Getenv("GODEBUG"), quiet) {
		alone := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPasswordsInProcessMemory$", "-test.v")
		alone.Env = append(os.Environ(), "GODEBUG="+quiet)
		if out, err := alone.CombinedOutput(); err != nil ||
			!bytes.Contains(out, []byte("--- PASS: TestPasswordsInProcessMemory")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGPIPE) // from a write to a socket that the server has closed
	t.Cleanup(func() { signal.Reset(syscall.SIGPIPE) })
	m := newMirror(t, pgtest.New(t), Config{CacheSize: 50})
	m.exec("ALTER TABLE commerce.users REPLICA IDENTITY FULL")
	look := func(when string) {
		t.Helper()
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for until := time.Now().Add(time.Minute); ; <-ticker.C { // a message stays until it is decoded
			n, read := inOurMemory(t)
			if t.Logf("%s: searched %d MiB", when, read>>20); n == 0 {
				return
			}
			if time.Now().After(until) {
				t.Errorf("%s: %d passwords in memory", when, n)
				return
			}
		}
	}
	streamed := make(chan struct{}, 1)
	m.hooks.streamed = func(raw []byte) {
		if secrets(t, bytes.NewReader(raw)) > 0 {
			select {
			case streamed <- struct{}{}:
			default:
			}
		}
	}
	m.changeSecrets()
	<-streamed
	look("while the stream stands")
	// Rows of 100 KB are longer than the buffer.
	m.exec("UPDATE commerce.users SET username = 'long ' || id, password = repeat(" + secretSQL + ", 7)")
	m.exec("ALTER TABLE commerce.users ALTER COLUMN password TYPE text")
	m.exec("UPDATE commerce.users SET password = repeat(" + secretSQL + " || id, 3000) WHERE id < 30")
	m.caughtUp()
	look("after long rows")
	for range 5 {
		for len(streamed) > 0 {
			<-streamed
		}
		m.exec("UPDATE commerce.users SET password = repeat(" + secretSQL + " || id, 300) WHERE id < 150")
		<-streamed
		lost := m.Stats().Reconnects
		m.exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = " +
			"current_database()")
		m.until("it is lost", func() bool { return m.Stats().Reconnects > lost })
		m.standing()
	}
	look("after streams that were cut")
	m.exec("UPDATE commerce.users SET password = repeat(" + secretSQL + " || id, 300)")
	m.stop()
	look("after the end")
}
