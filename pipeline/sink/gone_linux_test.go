package sink

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"firstclick/join/event"
)

// A server session that does not end (its process hangs in the disk) is waited for, with all that
// may stand in its transaction.
func TestASessionThatDoesNotEndIsWaitedFor(t *testing.T) {
	b := newBench(t)
	b.sink.goneLimit = 200 * time.Millisecond
	batch := b.claim(b.sink, 0)
	hung := b.connect(b.sink.application)
	var pid int
	var who session
	err := hung.QueryRow(t.Context(), `SELECT pg_backend_pid(), `+sessionOfActivity+`
		FROM pg_stat_get_activity(pg_backend_pid()) a`).Scan(&pid, &who)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	t.Cleanup(goOn)
	b.sink.lost.add(who)
	batch.Rows = []event.Released{row(0, checkout("k"))}
	ended := aside(t.Context(), b.sink, batch)
	for b.sink.Stats().Retries[causeConnection] == 0 {
		select {
		case l := <-ended:
			t.Fatalf("ended with %+v", l)
		case <-time.After(10 * time.Millisecond):
		}
	}
	goOn()
	if l := <-ended; l.err != nil || l.res.Fresh != 1 {
		t.Fatalf("%+v", l)
	}
}
