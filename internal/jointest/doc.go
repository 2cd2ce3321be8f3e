// Package jointest has what the tests of the join's rooms share: made-up keys and ids, the real
// events of testdata, and CPU time for benchmarks on a busy machine.
package jointest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"firstclick/join/event"
)

// Start is the event time at which made-up events begin, in micros.
const Start = 1_795_000_000_000_000

// Fataler is a *testing.T, a *testing.B or a *rapid.T.
type Fataler interface{ Fatalf(string, ...any) }

// Key is the n-th of many keys.
func Key(n int) event.Key {
	return event.Key{Hi: event.Mix(uint64(n)), Lo: event.Mix(uint64(n) ^ 0x5555)}
}

// ID is the n-th of many ids, each a UUID.
func ID(n int) event.ID {
	return event.FromParts(event.Mix(uint64(n)), event.Mix(^uint64(n)), "")
}

// MixedID is the n-th of many ids: UUIDs, and texts of every length.
func MixedID(n int) string {
	switch n % 4 {
	case 0:
		return fmt.Sprintf("click-%d", n)
	case 1:
		return fmt.Sprintf("%0*d", 1+n%event.MaxID, n)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], event.Mix(uint64(n)))
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Lines are the lines of a file of testdata, two folders up from the package under test.
func Lines(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all [][]byte
	s := bufio.NewScanner(f)
	for s.Scan() {
		all = append(all, bytes.Clone(s.Bytes()))
	}
	if s.Err() != nil || len(all) == 0 {
		t.Fatal("no events: ", s.Err())
	}
	return all
}

// Heap is the size of the live heap in bytes.
func Heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// OnCPU keeps the benchmark on one thread and makes it report the time for which that thread really
// ran. A busy machine does not change that time.
func OnCPU(b *testing.B, unit string) {
	runtime.LockOSThread()
	began := ThreadTime(b)
	b.Cleanup(runtime.UnlockOSThread)
	b.Cleanup(func() {
		took := ThreadTime(b) - began
		b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(b.N)/took.Seconds(), unit+"/cpu-s")
	})
}

// ThreadTime is the CPU time that the calling thread has used.
func ThreadTime(b *testing.B) time.Duration {
	const thisThread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thisThread, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
