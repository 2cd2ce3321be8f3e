package cdc

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/pgtest"
)

// BenchmarkStream measures a transaction of 1,000,000 updates: only received, and applied to a
// mirror whose cache holds a tenth of the users. ratio is the mirror's pace relative to receiving.
// Run it with -benchtime 3x.
func BenchmarkStream(b *testing.B) {
	const rows = 1_000_000
	ctx, dsn := b.Context(), pgtest.New(b)
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	exec := func(sql string) {
		if _, err := pool.Exec(ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
	exec(fmt.Sprintf("INSERT INTO commerce.users SELECT i, 'user ' || i, 'x' FROM generate_series(1, %d) i", rows))
	update := func(i int) { exec(fmt.Sprintf("UPDATE commerce.users SET username = 'renamed %d ' || id", i)) }
	m, err := New(Config{Database: dsn}, pool)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	var bare, mirror time.Duration
	for i := range b.N { // alternating, so that a slow minute of the machine affects both
		conn := bareStream(ctx, b, m)
		update(2*i + 1)
		bare += drain(b, conn)
		closeConn(conn)

		conn = bareStream(ctx, b, m)
		m.cache = newBenchCache(b, 100_000)
		s := &stream{m: m, conn: conn, cache: m.cache, decoder: newDecoder()}
		update(2*i + 2)
		mirror += applyOne(b, s)
		closeConn(conn)
	}
	rate := func(took time.Duration) float64 { return float64(rows) * float64(b.N) / took.Seconds() }
	b.ReportMetric(rate(bare), "bare-rows/s")
	b.ReportMetric(rate(mirror), "mirror-rows/s")
	b.ReportMetric(bare.Seconds()/mirror.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// applyOne reads and applies up to the first commit and returns the time since the first row.
func applyOne(b *testing.B, s *stream) time.Duration {
	var began time.Time
	for s.cache.transactions == 0 {
		msg, err := s.conn.ReceiveMessage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.message(msg); err != nil {
			b.Fatal(err)
		}
		if began.IsZero() && s.cache.rows > 0 {
			began = time.Now()
		}
	}
	return time.Since(began)
}

// BenchmarkDecodeRow decodes an update as pgoutput sends it.
func BenchmarkDecodeRow(b *testing.B) {
	d, row := benchRow(b)
	var ch change
	b.ReportAllocs()
	for b.Loop() {
		if err := d.decode(row, &ch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyRow applies a decoded update to the cache.
func BenchmarkApplyRow(b *testing.B) {
	d, row := benchRow(b)
	var ch change
	if err := d.decode(row, &ch); err != nil {
		b.Fatal(err)
	}
	c := newBenchCache(b, 100_000)
	c.begin(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		c.apply(&ch)
	}
}

// BenchmarkCacheGet looks up a user that is cached and one that is not.
func BenchmarkCacheGet(b *testing.B) {
	c := newBenchCache(b, 100_000)
	for name, base := range map[string]int32{"hit": 0, "miss": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := int32(0); b.Loop(); i++ {
				if _, ok := c.get(base + i*7919%100_000); ok != (base == 0) {
					b.Fatal("not as it should be")
				}
			}
		})
	}
}

// BenchmarkCacheAdd fills a full cache: each user evicts another.
func BenchmarkCacheAdd(b *testing.B) {
	c := newBenchCache(b, 100_000)
	b.ReportAllocs()
	for id := int32(100_000); b.Loop(); id++ {
		c.add(id, &entry{name: "name"})
	}
}

func benchRow(b *testing.B) (*decoder, []byte) {
	d := newDecoder()
	var ch change
	for _, msg := range [][]byte{users, beginMessage} {
		if err := d.decode(msg, &ch); err != nil {
			b.Fatal(err)
		}
	}
	return d, append(message('U', uint32(7), 'N', uint16(2)),
		bytes.Join([][]byte{column("1"), column("renamed 12345")}, nil)...)
}

func newBenchCache(b *testing.B, size int32) *cache {
	c, err := newCache(int(size), 1<<16, &snapshot{xmin: 3, xmax: 1 << 30}, 0)
	if err != nil {
		b.Fatal(err)
	}
	for id := range size {
		c.add(id, &entry{name: "name"})
	}
	return c
}

func bareStream(ctx context.Context, b *testing.B, m *Mirror) *pgconn.PgConn {
	side, err := m.connectSide(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer closeConn(side.PgConn())
	if err := EnsurePublication(ctx, side); err != nil {
		b.Fatal(err)
	}
	conn, _, err := m.connectReplication(ctx)
	if err != nil {
		b.Fatal(err)
	}
	slot, err := m.createSlot(ctx, conn)
	if err != nil {
		b.Fatal(err)
	}
	err = pglogrepl.StartReplication(ctx, conn, slot.SlotName, 0, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: []string{"proto_version '1'", "publication_names '" +
			Publication + "'"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// drain reads up to the first commit and returns the time since the first row.
func drain(b *testing.B, conn *pgconn.PgConn) time.Duration {
	var began time.Time
	for {
		msg, err := conn.ReceiveMessage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		data, ok := msg.(*pgproto3.CopyData)
		if !ok || data.Data[0] != 'w' {
			continue
		}
		switch data.Data[25] {
		case 'U':
			if began.IsZero() {
				began = time.Now()
			}
		case 'C':
			return time.Since(began)
		}
	}
}

// BenchmarkEdition is the cost of EditionSQL in a transaction, without the round trip, which the
// transaction makes anyway.
func BenchmarkEdition(b *testing.B) {
	conn, err := pgx.Connect(b.Context(), pgtest.New(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	for name, sql := range map[string]string{"edition": EditionSQL, "round trip": "SELECT 'x'"} {
		b.Run(name, func(b *testing.B) {
			var text string
			for b.Loop() {
				if err := conn.QueryRow(b.Context(), sql).Scan(&text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
