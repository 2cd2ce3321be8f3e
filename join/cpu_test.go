package join

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// onCPU keeps the benchmark on one thread and makes it report the time that this thread was really running, which a busy
// machine does not falsify as it does the clock's.
func onCPU(b *testing.B, unit string) {
	runtime.LockOSThread()
	began := threadTime(b)
	b.Cleanup(runtime.UnlockOSThread)
	b.Cleanup(func() {
		took := threadTime(b) - began
		b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(b.N)/took.Seconds(), unit+"/cpu-s")
	})
}

func threadTime(b *testing.B) time.Duration {
	const thisThread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thisThread, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
