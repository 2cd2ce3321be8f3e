//go:build realkafka

package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkatest"
	"firstclick/internal/pgtest"
)

// peak memory of a program, in bytes. https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func (p *program) peakMemory() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	text, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kib, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}

// cpu is the processor time that a program has taken so far.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func (p *program) cpu() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	// of the clock that it counts by
	const hundredths = 10 * time.Millisecond
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // from the third on
	var used time.Duration
	for _, text := range fields[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		used += time.Duration(n) * hundredths
	}
	return used
}

// uuid is the text of a random UUID.
func uuid(r *rand.Rand) string {
	hi, lo := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}

// n clicks are kept, two of each user and product, within an hour. 10 million take 800 MB of the
// process at most: FIRSTCLICK_LIVE_CLICKS=10000000.
func TestMemoryOfLiveClicks(t *testing.T) {
	n := number(t, "FIRSTCLICK_LIVE_CLICKS", 500_000)
	w := newWorld(t, pgtest.New(t), 4, 1)
	cl := w.producer(kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(100_000))
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Now().Add(-time.Hour)
	var user int
	var product string
	failed := make(chan error, 1)
	for i := range n {
		if i%2 == 0 {
			user, product = random.IntN(1_000_000), uuid(random)
		}
		at := begin.Add(time.Duration(float64(time.Hour) * float64(i) / float64(n)))
		value := click(uuid(random), user, product, stamp(at, 0))
		cl.Produce(t.Context(), &kgo.Record{Topic: w.clicks, Partition: int32(i / 2 % 4), Value: []byte(value)},
			func(_ *kgo.Record, err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	kafkatest.Produce(t, w.brokers, w.checkouts, 0, values(checkout("k", user, product, "1", stamp(time.Now(), 0)))...)

	t.Logf("%d clicks produced", n)
	begun := time.Now()
	p := w.start(binary(t))
	eventually(t, "all clicks are read and the checkout has its row", func() bool {
		p.alive()
		return count(t, w.conn, `SELECT count(*) FROM firstclick.offsets WHERE group_id = $1 AND (SELECT sum(c)
			FROM unnest(clicks_next) c) >= $2`, w.group, n) == 1 &&
			countRows(t, w.conn, `click_id IS NOT NULL`) == 1
	})
	peak := p.peakMemory()
	t.Logf("%d live clicks, read in %v: at most %d MB of memory", n, time.Since(begun).Round(100*time.Millisecond),
		peak/1e6)
	if most := 200_000_000 + 60*n; peak > most { // what fetches take whatever the window holds, and the clicks
		t.Errorf("the process took %d MB of memory; %d MB is the most for %d live clicks", peak/1e6, most/1e6, n)
	}
}

// onOneCore runs start, and the processes that it starts, on a single core.
func onOneCore(t testing.TB, start func() *program) *program {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for core := range 1024 {
		if before.IsSet(core) {
			one.Set(core)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Error(err)
		}
	}()
	return start()
}

// 10,000 events a second come, and a process on one core does not even use all of it. Processor
// time counts, for other processes run on that core too. How long the last rows took is logged.
func TestOneCoreIsEnough(t *testing.T) {
	const rate = 10_000
	seconds := number(t, "FIRSTCLICK_LIVE_SECONDS", 10)
	w := newWorld(t, pgtest.New(t), 4, 4)
	bin := binary(t)
	p := onOneCore(t, func() *program { return w.start(bin) })
	eventually(t, "all shards", func() bool {
		p.alive()
		return count(t, w.conn, `SELECT count(*) FROM firstclick.offsets WHERE owner IS NOT NULL`) == 4
	})
	before, began := p.cpu(), time.Now()
	sum := w.generate(datagen.Config{Database: w.dsn, Rate: rate, Count: rate * seconds, OutOfOrder: 0.02}).wait(t)
	took := time.Since(began)
	eventually(t, "the last row", func() bool {
		p.alive()
		return countRows(t, w.conn, `true`) >= sum.Rows()
	})
	used, behind := p.cpu()-before, time.Since(began)-took
	t.Logf("%.0f events/s for %v on one core: %.2f of it used; the last row was there %v after the last event",
		float64(sum.Clicks+sum.Checkouts)/took.Seconds(), took.Round(time.Second), used.Seconds()/took.Seconds(),
		behind.Round(10*time.Millisecond))
	if used > took {
		t.Errorf("%v of processor time for %v of events", used, took)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.done(patience)
	w.verify()
}
