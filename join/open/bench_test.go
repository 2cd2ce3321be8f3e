package open

import (
	"runtime"
	"testing"

	"firstclick/internal/jointest"
	"firstclick/join/event"
)

func BenchmarkCheckoutsBytes(b *testing.B) {
	const n = 5_000_000
	for b.Loop() {
		before := jointest.Heap()
		r := New(7)
		for i := range n {
			r.Add(jointest.Key(i), Checkout{Time: jointest.Start + int64(i)*200, Offset: int64(i), ID: jointest.ID(i),
				HasClick: true, ClickTime: jointest.Start, Click: jointest.ID(i + 1)})
		}
		b.ReportMetric(float64(r.Bytes())/n, "B/recent")
		b.ReportMetric(float64(jointest.Heap()-before)/n, "heap-B/recent")
		runtime.KeepAlive(r)
	}
}

// BenchmarkCheckouts is the life of a checkout with 500,000 held: added, an improvement tried,
// swept, forgotten.
func BenchmarkCheckouts(b *testing.B) {
	const held = 500_000
	r := New(7)
	var at int64
	var id event.ID
	var better []event.Correction
	clicks := answers(func(event.Key, int64) (int64, event.ID, bool) { return at - 2*minute, id, true })
	b.ReportAllocs()
	for i := 0; i < held+b.N; i++ {
		if i == held {
			b.ResetTimer()
			jointest.OnCPU(b, "checkouts")
		}
		id = jointest.ID(i)
		at = jointest.Start + int64(i)*1000
		r.Add(jointest.Key(i), Checkout{Time: at, Offset: int64(i), ID: jointest.ID(i), HasClick: true,
			ClickTime: at - minute, Click: jointest.ID(i + 1)})
		r.Mark(jointest.Key(i-1000), at-2*minute, jointest.ID(i), at-2*minute, at)
		better, _ = r.Improve(better[:0], 1, clicks, 0)
		if i%100 == 0 {
			r.Expire(at - held*1000)
			r.OldestOffset()
		}
	}
}

func BenchmarkCheckoutsImproveMiss(b *testing.B) {
	const held = 500_000
	r := New(7)
	for i := range held {
		r.Add(jointest.Key(i), Checkout{Time: jointest.Start + int64(i), Offset: int64(i), ID: jointest.ID(i)})
	}
	b.ResetTimer()
	for i := range b.N {
		r.Mark(jointest.Key(held+i), jointest.Start, jointest.ID(i), jointest.Start, jointest.Start+60*minute)
	}
	if r.Marked() != event.Forever {
		b.Fatal("marked")
	}
}
