package window

import (
	"runtime"
	"testing"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

// fill inserts n clicks, each key clicks of them, spread over 75 minutes. The second click of a key
// comes within seconds.
func fill(w *Window, h event.Hasher, n, clicks int) {
	for i := range n {
		w.Insert(jointest.Key(i/clicks), jointest.Start+int64(float64(i)/float64(n)*float64(75*minute)), jointest.ID(i))
	}
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
				before := jointest.Heap()
				w := New(0)
				began := jointest.ThreadTime(b)
				for i := range c.n {
					k, nth := i/c.clicks, i%c.clicks
					at := jointest.Start + int64(k)*75*minute/int64(c.n/c.clicks) + int64(nth*c.far)
					w.Insert(jointest.Key(k), at, jointest.ID(i))
				}
				took := jointest.ThreadTime(b) - began
				st := w.Stats()
				b.ReportMetric(float64(st.Bytes)/float64(c.n), "B/click")
				b.ReportMetric(float64(jointest.Heap()-before)/float64(c.n), "heap-B/click")
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
	w := New(0)
	benchInsert(b, w, func(key event.Key, t int64, id event.ID) { w.Insert(key, t, id) })
	b.ReportMetric(float64(w.Stats().Bytes)/float64(w.Stats().Clicks), "B/click")
}

// BenchmarkWindowBatch is BenchmarkWindowInsert by batches.
func BenchmarkWindowBatch(b *testing.B) {
	w := New(0)
	batch := w.NewBatch()
	benchInsert(b, w, func(key event.Key, t int64, id event.ID) {
		if batch.Full() {
			batch.Flush()
		}
		batch.Add(key, t, id)
	})
}

// benchInsert measures an insertion of whatever kind.
func benchInsert(b *testing.B, w *Window, insert func(event.Key, int64, event.ID)) {
	const live = 10_000_000
	const step = 75 * minute / live
	one := func(i int) {
		key := i >> 1
		if i&1 == 1 && i > 40_000 {
			key = (i - 40_000) >> 1 // the second click comes some seconds after the first
		}
		insert(jointest.Key(key), jointest.Start+int64(i)*step, jointest.ID(i))
	}
	for i := range live {
		one(i)
	}
	i := live
	b.ReportAllocs()
	b.ResetTimer()
	jointest.OnCPU(b, "inserts")
	for range b.N {
		one(i)
		if i++; i&0xffff == 0 {
			w.Expire(jointest.Start + int64(i-live)*step)
		}
	}
}

func BenchmarkWindowFirst(b *testing.B) {
	const live = 10_000_000
	w := New(0)
	fill(w, event.Hasher{}, live, 2)
	hits := 0
	b.ReportAllocs()
	b.ResetTimer()
	jointest.OnCPU(b, "firsts")
	for i := range b.N {
		n := int(event.Mix(uint64(i)) % (live / 2))
		at := jointest.Start + int64(2*n)*75*minute/live
		if _, _, ok := w.First(jointest.Key(n), at-60*minute, at+minute); ok {
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
	w := New(0)
	fill(w, event.Hasher{}, live, 2)
	lookups := w.NewLookups()
	b.ReportAllocs()
	b.ResetTimer()
	jointest.OnCPU(b, "firsts")
	for i := 0; i < b.N; {
		lookups.Reset()
		asked := min(LookupsSize, b.N-i)
		for range asked {
			n := int(event.Mix(uint64(i)) % (live / 2))
			at := jointest.Start + int64(2*n)*75*minute/live
			lookups.Ask(jointest.Key(n), at-60*minute, at+minute)
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
	w := New(0)
	fill(w, event.Hasher{}, live, 2)
	b.ResetTimer()
	jointest.OnCPU(b, "firsts")
	for i := range b.N {
		if _, _, ok := w.First(jointest.Key(live+i), jointest.Start, jointest.Start+60*minute); ok {
			b.Fatal("found")
		}
	}
}

func BenchmarkWindowHotKey(b *testing.B) {
	const n = 1_000_000
	for name, at := range map[string]func(i int) int64{
		"in order": func(i int) int64 { return jointest.Start + int64(i)*4500 },
		"at random": func(i int) int64 {
			return jointest.Start +
				int64(event.Mix(uint64(i))%uint64(75*minute))
		},
		"at random in one bucket": func(i int) int64 {
			return jointest.Start +
				int64(event.Mix(uint64(i))%uint64(40_000_000))
		},
		"at one time": func(int) int64 { return jointest.Start },
	} {
		b.Run(name, func(b *testing.B) {
			w := New(0)
			for i := range n {
				w.Insert(event.Key{Hi: 1, Lo: 1}, at(i), jointest.ID(i))
			}
			b.ResetTimer()
			jointest.OnCPU(b, "firsts")
			for i := range b.N {
				w.First(event.Key{Hi: 1, Lo: 1}, jointest.Start+int64(event.Mix(uint64(i))%uint64(75*minute)),
					jointest.Start+75*minute)
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
		w := New(0)
		fill(w, event.Hasher{}, n, 2)
		b.StartTimer()
		for m := range int64(76) {
			w.Expire(jointest.Start + m*minute)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/click")
}
