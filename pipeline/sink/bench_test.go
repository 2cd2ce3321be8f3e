package sink

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"firstclick/join/event"
)

// randomRows are rows of the usual size with random ids, in the order of their offsets.
func randomRows(seed uint64, n int) []event.Released {
	rnd := rand.New(rand.NewPCG(seed, 1))
	rows := make([]event.Released, n)
	for i := range rows {
		k := checkout(randomUUID(rnd))
		k.User = rnd.Int32N(100)
		k.Product = text(randomUUID(rnd))
		k.Amount = text(fmt.Sprintf("%d.%02d", rnd.IntN(1000), rnd.IntN(100)))
		k.Shipping = text(fmt.Sprintf("%d Some Street Apt. %d\nNew Town, ST %05d", rnd.IntN(9999), rnd.IntN(999),
			rnd.IntN(99999)))
		k.Billing = k.Shipping
		k.Agent = text("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Chrome/120.0 Safari/537.36")
		k.IP = text(fmt.Sprintf("%d.%d.%d.%d", rnd.IntN(256), rnd.IntN(256), rnd.IntN(256), rnd.IntN(256)))
		k.Time = noon + int64(i)*1000
		rows[i] = clicked(row(int64(i), k), randomUUID(rnd), k.Time-rnd.Int64N(60*second))
	}
	return rows
}

func randomUUID(rnd *rand.Rand) string {
	a, b := rnd.Uint64(), rnd.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

func benchNames() *fakeNames {
	n := &fakeNames{known: map[int32]string{}}
	for i := range int32(100) {
		n.known[i] = fmt.Sprintf("user.number%d", i)
	}
	return n
}

// BenchmarkCommit sets Commit beside a bare COPY of the same bytes into the same table by the same
// connection settings. Rounds of both take turns, so that what else the machine does falls on both.
// ratio is Commit's pace over that of COPY.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			bench := newBench(b)
			bench.exec(`ALTER TABLE commerce.attributed_checkouts SET (autovacuum_enabled = off)`)
			bench.exec(`CREATE TABLE bare (LIKE commerce.attributed_checkouts INCLUDING ALL)
				WITH (autovacuum_enabled = off)`)
			names := benchNames()
			s := bench.open(bench.dsn, "firstclick-bench", names)
			batch := bench.claim(s, 0)
			var committed, copied time.Duration
			list := eachColumn(", ", func(c column) string { return c.name })
			bare := "COPY bare (" + list + ") FROM STDIN (FORMAT binary)"
			for i := range b.N {
				batch.Rows = randomRows(uint64(i), n)
				w, err := newCommitSet([]*Batch{batch})
				if err != nil {
					b.Fatal(err)
				}
				data, err := io.ReadAll(&rowReader{rows: w.rows, fields: w.fields, names: names.known})
				if err != nil {
					b.Fatal(err)
				}
				begun := time.Now()
				if res := bench.commit(s, batch); res.Fresh != int64(n) {
					b.Fatalf("%+v", res)
				}
				committed += time.Since(begun)
				begun = time.Now()
				if _, err := bench.db.PgConn().CopyFrom(b.Context(), bytes.NewReader(data), bare); err != nil {
					b.Fatal(err)
				}
				copied += time.Since(begun)
			}
			b.ReportMetric(float64(n*b.N)/committed.Seconds(), "rows/s")
			b.ReportMetric(float64(n*b.N)/copied.Seconds(), "copy-rows/s")
			b.ReportMetric(copied.Seconds()/committed.Seconds(), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkReplay commits rows that all stand already, as after a restart.
func BenchmarkReplay(b *testing.B) {
	const n = 10_000
	bench := newBench(b)
	s := bench.open(bench.dsn, "firstclick-bench", benchNames())
	batch := bench.claim(s, 0)
	rows := randomRows(1, n)
	batch.Rows = rows
	bench.commit(s, batch)
	for b.Loop() {
		batch.Rows = rows
		if res := bench.commit(s, batch); res.Duplicates != n {
			b.Fatalf("%+v", res)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkReassert sends corrections that change nothing, as a restart does in the background.
func BenchmarkReassert(b *testing.B) {
	const n = 10_000
	bench := newBench(b)
	s := bench.open(bench.dsn, "firstclick-bench", benchNames())
	batch := bench.claim(s, 0)
	batch.Rows = randomRows(1, n)
	var same []event.Correction
	for _, r := range batch.Rows {
		same = append(same, event.Correction{Offset: r.Offset, Checkout: r.ID, Click: r.Click, ClickTime: r.ClickTime})
	}
	bench.commit(s, batch)
	for b.Loop() {
		batch.Corrections = same
		bench.commits(s, batch, Result{})
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRender(b *testing.B) {
	w, err := newCommitSet([]*Batch{{Claim: &Claim{}, Rows: randomRows(1, 10_000)}})
	if err != nil {
		b.Fatal(err)
	}
	names := benchNames().known
	buf := make([]byte, 65531)
	b.ReportAllocs()
	for b.Loop() {
		r := &rowReader{rows: w.rows, fields: w.fields, names: names}
		for {
			n, err := r.Read(buf)
			b.SetBytes(int64(n))
			if err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "rows/s")
}

var _ = event.NoTime

// BenchmarkLetters commits dead letters as a flood of bad records brings them.
func BenchmarkLetters(b *testing.B) {
	const n = 8_192
	bench := newBench(b)
	s := bench.open(bench.dsn, "firstclick-bench", benchNames())
	batch := bench.claim(s, 0)
	payload := bytes.Repeat([]byte(`{"click_id": "x", `), 17)
	offset := int64(0)
	for b.Loop() {
		for range n {
			batch.Dead = append(batch.Dead, DeadLetter{Topic: "clicks", Offset: offset, Reason: event.ReasonJSON,
				Detail: "not valid JSON", Payload: payload, RecordTime: noon})
			offset++
		}
		if res := bench.commit(s, batch); res.DeadLetters != n {
			b.Fatalf("%+v", res)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "letters/s")
}
