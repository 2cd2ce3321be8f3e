package cdc

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"firstclick/internal/pgtest"
)

// BenchmarkStream measures a transaction of 1,000,000 updates: read bare (messages received and thrown away), and applied to a mirror whose
// cache holds a tenth of the users. Run it with -benchtime 1x; both report rows/s.
func BenchmarkStream(b *testing.B) {
	const users = 1_000_000
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
	exec(fmt.Sprintf("INSERT INTO commerce.users SELECT i, 'user ' || i, 'x' FROM generate_series(1, %d) i", users))
	update := func(i int) { exec(fmt.Sprintf("UPDATE commerce.users SET username = 'renamed %d ' || id", i)) }
	m, err := New(Config{Database: dsn}, pool)
	if err != nil {
		b.Fatal(err)
	}
	report := func(b *testing.B, took time.Duration) {
		b.ReportMetric(float64(users)*float64(b.N)/took.Seconds(), "rows/s")
	}
	b.Run("bare", func(b *testing.B) {
		var took time.Duration
		for i := range b.N {
			conn := bareStream(ctx, b, m)
			update(i)
			took += drain(b, conn)
			closeConn(conn)
		}
		report(b, took)
	})
	b.Run("mirror", func(b *testing.B) {
		var took time.Duration
		for i := range b.N {
			conn := bareStream(ctx, b, m)
			m.cache = newBenchCache(b, 100_000)
			s := &stream{m: m, conn: conn, cache: m.cache, decoder: newDecoder()}
			update(-i)
			var began time.Time
			for m.cache.transactions == 0 {
				msg, err := conn.ReceiveMessage(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				if err := s.message(msg); err != nil {
					b.Fatal(err)
				}
				if began.IsZero() && m.cache.rows > 0 {
					began = time.Now()
				}
			}
			took += time.Since(began)
			closeConn(conn)
		}
		report(b, took)
	})
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
	conn, err := m.connectReplication(ctx)
	if err != nil {
		b.Fatal(err)
	}
	slot, err := m.createSlot(ctx, conn)
	if err != nil {
		b.Fatal(err)
	}
	err = pglogrepl.StartReplication(ctx, conn, slot.SlotName, 0, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: []string{"proto_version '1'", "publication_names '" + Publication + "'"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// drain reads to the first commit and returns the time since the first row.
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
