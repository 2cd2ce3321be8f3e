package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"firstclick/join/event"
	"firstclick/join/window"
	"firstclick/tools/testbed"
)

// window fills click windows and asks them. A session has two clicks, and the clicks come in order
// over 75 minutes, as live ones do.
func (s *scale) window() error {
	debug.SetGCPercent(30) // as `firstclick run` does
	defer debug.SetGCPercent(100)
	for text := range strings.SplitSeq(s.opts.scale.liveClicks, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1000 {
			return fmt.Errorf("%q live clicks: want 1000 or more", text)
		}
		s.add(windowOf(n))
	}
	return nil
}

const (
	windowSpan  = 75 * time.Minute
	windowProbe = 1_000_000
)

func windowOf(n int) ScaleResult {
	debug.FreeOSMemory()
	before := resident()
	hasher := event.NewHasher(1)
	begin := firstEvent().UnixMicro()
	at := func(i int) int64 { return begin + int64(float64(i)/float64(n)*float64(windowSpan.Microseconds())) }
	var product, id []byte
	key := func(session int) event.Key {
		product = appendUUID(product[:0], int64(session), saltProduct)
		return hasher.Key(int32(1+session%1_000_000), product)
	}
	w := window.New(0)
	began, cpu, most := time.Now(), ownCPU(), before
	for i := range n {
		id = appendUUID(id[:0], int64(i), saltClick)
		w.Insert(key(i/2), at(i), event.MakeID(id))
		if i%(n/100) == 0 {
			most = max(most, resident())
		}
	}
	took, used := time.Since(began), ownCPU()-cpu
	debug.FreeOSMemory()
	taken := resident() - before

	began = time.Now()
	runtime.GC()
	collected := time.Since(began)
	var stats debug.GCStats
	debug.ReadGCStats(&stats)

	var single []int64
	hits := 0
	for i := range windowProbe {
		session := int(mix(uint64(i)) % uint64(n/2))
		k, to := key(session), at(2*session+1)
		asked := time.Now()
		_, _, ok := w.First(k, to-time.Hour.Microseconds(), to)
		single = append(single, int64(time.Since(asked)))
		if ok {
			hits++
		}
	}
	q := quantiles(single)
	st := w.Stats()
	runtime.KeepAlive(w)
	return ScaleResult{Dimension: scaleWindow, Variant: fmt.Sprintf("%d live clicks", n), Figures: map[string]float64{
		"bytes per click, resident": taken / float64(n), "bytes per click, resident at most while " +
			"filling": (most - before) / float64(n), "bytes per click, by the window's own " +
			"count": float64(st.Bytes) / float64(st.Clicks),
		"inserts/s": float64(n) / took.Seconds(), "inserts per CPU s": float64(n) / used, "collection " +
			"ms": collected.Seconds() * 1e3,
		"longest recent GC pause ms": float64(stats.Pause[0]) / 1e6, "look-up p50 µs": q.P50 * 1e3, "look-up p99 " +
			"µs": q.P99 * 1e3,
		"look-ups found": float64(hits) / windowProbe,
	}}
}

// resident is the memory of this process in bytes.
func resident() float64 {
	now, _ := testbed.Memory(os.Getpid())
	return now
}
