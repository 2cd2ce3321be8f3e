package join

import (
	"runtime"
	"testing"
)

const benchStart = 1_795_000_000_000_000

// fill inserts n clicks, each key clicks of them, spread over 75 minutes. The second click of a key comes within seconds.
func fill(w *Window, h Hasher, n, clicks int) {
	for i := range n {
		w.Insert(benchKey(i/clicks), benchStart+int64(float64(i)/float64(n)*float64(75*minute)), benchID(i))
	}
}

func benchKey(i int) Key { return Key{mix64(uint64(i)), mix64(uint64(i) ^ 0x5555)} }
func benchID(i int) ID   { return ID{hi: mix64(uint64(i)), lo: mix64(^uint64(i))} }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkWindowBytes reports what a live click costs: by Stats and by the heap.
func BenchmarkWindowBytes(b *testing.B) {
	for name, c := range map[string]struct{ n, clicks, far int }{
		"10M keys of 1 click":                 {10_000_000, 1, 0},
		"10M clicks, 2 a key, seconds apart":  {10_000_000, 2, 1_000_000},
		"10M clicks, 2 a key, minutes apart":  {10_000_000, 2, 5 * 60_000_000},
		"20M clicks, 10M keys, seconds apart": {20_000_000, 2, 1_000_000},
	} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for b.Loop() {
				before := heap()
				w := NewWindow(WindowConfig{})
				began := threadTime(b)
				for i := range c.n {
					k, nth := i/c.clicks, i%c.clicks
					at := benchStart + int64(k)*75*minute/int64(c.n/c.clicks) + int64(nth*c.far)
					w.Insert(benchKey(k), at, benchID(i))
				}
				took := threadTime(b) - began
				st := w.Stats()
				b.ReportMetric(float64(st.Bytes)/float64(c.n), "B/click")
				b.ReportMetric(float64(heap()-before)/float64(c.n), "heap-B/click")
				b.ReportMetric(float64(c.n)/took.Seconds(), "inserts/cpu-s")
				if st.Clicks != int64(c.n) {
					b.Fatal(st)
				}
				runtime.KeepAlive(w)
			}
		})
	}
}

// BenchmarkWindowInsert inserts at 10 million live clicks, and expires what leaves the window.
func BenchmarkWindowInsert(b *testing.B) {
	w := NewWindow(WindowConfig{})
	benchInsert(b, w, func(key Key, t int64, id ID) { w.Insert(key, t, id) })
	b.ReportMetric(float64(w.Stats().Bytes)/float64(w.Stats().Clicks), "B/click")
}

// BenchmarkWindowBatch is BenchmarkWindowInsert by batches.
func BenchmarkWindowBatch(b *testing.B) {
	w := NewWindow(WindowConfig{})
	batch := w.NewBatch()
	benchInsert(b, w, func(key Key, t int64, id ID) {
		if batch.Full() {
			batch.Flush()
		}
		batch.Add(key, t, id)
	})
}

// benchInsert measures an insertion of whatever kind.
func benchInsert(b *testing.B, w *Window, insert func(Key, int64, ID)) {
	const live = 10_000_000
	const step = 75 * minute / live
	one := func(i int) {
		key := i >> 1
		if i&1 == 1 && i > 40_000 {
			key = (i - 40_000) >> 1 // the second click comes some seconds after the first
		}
		insert(benchKey(key), benchStart+int64(i)*step, benchID(i))
	}
	for i := range live {
		one(i)
	}
	i := live
	b.ReportAllocs()
	b.ResetTimer()
	onCPU(b, "inserts")
	for range b.N {
		one(i)
		if i++; i&0xffff == 0 {
			w.Expire(benchStart + int64(i-live)*step)
		}
	}
}

func BenchmarkWindowFirst(b *testing.B) {
	const live = 10_000_000
	w := NewWindow(WindowConfig{})
	fill(w, Hasher{}, live, 2)
	hits := 0
	b.ReportAllocs()
	b.ResetTimer()
	onCPU(b, "firsts")
	for i := range b.N {
		n := int(mix64(uint64(i)) % (live / 2))
		at := benchStart + int64(2*n)*75*minute/live
		if _, _, ok := w.First(benchKey(n), at-60*minute, at+minute); ok {
			hits++
		}
	}
	if hits != b.N {
		b.Fatal("not found")
	}
}

// BenchmarkWindowLookups is BenchmarkWindowFirst, many at a time.
func BenchmarkWindowLookups(b *testing.B) {
	const live = 10_000_000
	w := NewWindow(WindowConfig{})
	fill(w, Hasher{}, live, 2)
	lookups := w.NewLookups()
	b.ReportAllocs()
	b.ResetTimer()
	onCPU(b, "firsts")
	for i := 0; i < b.N; {
		lookups.Reset()
		asked := min(LookupsSize, b.N-i)
		for range asked {
			n := int(mix64(uint64(i)) % (live / 2))
			at := benchStart + int64(2*n)*75*minute/live
			lookups.Ask(benchKey(n), at-60*minute, at+minute)
			i++
		}
		lookups.Find()
		for n := range asked {
			if _, _, ok := lookups.Answer(n); !ok {
				b.Fatal("not found")
			}
		}
	}
}

func BenchmarkWindowFirstMiss(b *testing.B) {
	const live = 10_000_000
	w := NewWindow(WindowConfig{})
	fill(w, Hasher{}, live, 2)
	b.ResetTimer()
	onCPU(b, "firsts")
	for i := range b.N {
		if _, _, ok := w.First(benchKey(live+i), benchStart, benchStart+60*minute); ok {
			b.Fatal("found")
		}
	}
}

func BenchmarkWindowHotKey(b *testing.B) {
	const n = 1_000_000
	for name, at := range map[string]func(i int) int64{
		"in order":                func(i int) int64 { return benchStart + int64(i)*4500 },
		"at random":               func(i int) int64 { return benchStart + int64(mix64(uint64(i))%uint64(75*minute)) },
		"at random in one bucket": func(i int) int64 { return benchStart + int64(mix64(uint64(i))%uint64(40_000_000)) },
		"at one time":             func(int) int64 { return benchStart },
	} {
		b.Run(name, func(b *testing.B) {
			w := NewWindow(WindowConfig{})
			for i := range n {
				w.Insert(Key{1, 1}, at(i), benchID(i))
			}
			b.ResetTimer()
			onCPU(b, "firsts")
			for i := range b.N {
				w.First(Key{1, 1}, benchStart+int64(mix64(uint64(i))%uint64(75*minute)), benchStart+75*minute)
			}
			b.StopTimer()
			b.ReportMetric(float64(w.Stats().Bytes)/n, "B/click")
		})
	}
}

// BenchmarkWindowExpire frees a million clicks minute by minute; the figure is per click.
func BenchmarkWindowExpire(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		b.StopTimer()
		w := NewWindow(WindowConfig{})
		fill(w, Hasher{}, n, 2)
		b.StartTimer()
		for m := range int64(76) {
			w.Expire(benchStart + m*minute)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/click")
}
