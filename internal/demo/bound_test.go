package demo

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/datagen"
	"firstclick/internal/kafkaconn"
	"firstclick/internal/pgtest"
	"firstclick/pipeline"
)

func TestOldRowsGo(t *testing.T) {
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	// 1, 3, 5, ... minutes ago: more old rows than one statement deletes, in another zone than UTC.
	const rows = deleteAtOnce + 500
	if _, err := pool.Exec(ctx, `INSERT INTO commerce.attributed_checkouts (checkout_id, checkout_time)
		SELECT 'old' || n, now() AT TIME ZONE 'UTC' - interval '1 hour 1 minute' FROM generate_series(1, $1::int) n
		UNION ALL SELECT 'new' || n, now() AT TIME ZONE 'UTC' - interval '59 minutes'
		FROM generate_series(1, 10) n`, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `INSERT INTO firstclick.unknown_users (user_id, checkout_id, noted_at)
		VALUES (1, 'old1', now() - interval '2 hours'), (1, 'new1', now())`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason,
		payload_size, created_at)
		VALUES ('g', 'clicks', 0, 1, 'json', 0, now() - interval '2 hours'),
		('g', 'clicks', 0, 2, 'json', 0, now())`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, "SET TIME ZONE 'Asia/Tokyo'"); err != nil {
		t.Fatal(err)
	}
	deleted, err := deleteRows(ctx, pool, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if deleted != rows+2 {
		t.Errorf("deleted %d, want %d", deleted, rows+2)
	}
	var left, letters, unknown int
	if err := pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM commerce.attributed_checkouts
		WHERE checkout_id LIKE 'new%'),
		(SELECT count(*) FROM firstclick.dead_letters),
		(SELECT count(*) FROM firstclick.unknown_users)`).Scan(&left, &letters, &unknown); err != nil {
		t.Fatal(err)
	}
	if left != 10 || letters != 1 || unknown != 1 {
		t.Errorf("left: %d rows, %d dead letters, %d unknown users", left, letters, unknown)
	}
}

// Old records are deleted, with their files, and young ones stay, also after a restart of the
// broker and after a kill.
func TestOldRecordsGo(t *testing.T) {
	dir := t.TempDir()
	broker, admin, client := brokerOn(t, dir)
	value := []byte(strings.Repeat("x", 512<<10))
	now := time.Now() // of all records, however long it takes to write them
	produce := func(n int, age time.Duration) {
		for range n {
			record := &kgo.Record{Topic: clicksTopic, Partition: 1, Value: value, Timestamp: now.Add(-age)}
			if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cutoff := now.Add(-keepRecords)
	produce(40, keepRecords+time.Minute)
	if err := deleteRecords(t.Context(), admin, cutoff); err != nil {
		t.Fatal(err)
	}
	wantLog(t, admin, 0, 40) // nothing young yet
	produce(2, keepRecords-time.Minute)
	produce(1, keepRecords+time.Minute) // behind young ones: it stays
	produce(2, 0)
	full := size(t, dir)
	if err := deleteRecords(t.Context(), admin, cutoff); err != nil {
		t.Fatal(err)
	}
	if left := size(t, dir); full < 20<<20 || left > 10<<20 {
		t.Errorf("%d bytes before, %d after", full, left)
	}
	wantLog(t, admin, 40, 45)

	killed := t.TempDir() // as its files are now
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	broker.Close()
	_, admin, _ = brokerOn(t, dir)
	wantLog(t, admin, 40, 45)
	// After a kill some of the deleted records may be back: those in the segment of the first young
	// record.
	_, admin, _ = brokerOn(t, killed)
	wantLog(t, admin, 40, 45, 33)
}

func brokerOn(t *testing.T, dir string) (*kfake.Cluster, *kadm.Client, *kgo.Client) {
	t.Helper()
	broker, err := startBroker(dir, 0, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker.ListenAddrs()...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return broker, kadm.NewClient(client), client
}

// wantLog checks where the log of the partition begins and ends. It may begin earlier, by at most
// the last argument.
func wantLog(t *testing.T, admin *kadm.Client, begin, end int64, leastBegin ...int64) {
	t.Helper()
	starts, err := admin.ListStartOffsets(t.Context(), clicksTopic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), clicksTopic)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := starts.Lookup(clicksTopic, 1)
	last, _ := ends.Lookup(clicksTopic, 1)
	least := append([]int64{begin}, leastBegin...)
	if first.Offset > begin || first.Offset < least[len(least)-1] || last.Offset != end {
		t.Errorf("log from %d to %d, want %d to %d", first.Offset, last.Offset, begin, end)
	}
}

// A demo that was stopped for longer than records are kept loses old records, but none that a row
// needs. It goes on, also after one more stop.
func TestStoppedForLong(t *testing.T) {
	dsn := pgtest.New(t)
	broker, admin, _ := brokerOn(t, t.TempDir())
	kafka := kafkaconn.Config{Brokers: broker.ListenAddrs()}
	generate := func(count int64, rate float64, start time.Time) {
		t.Helper()
		if _, err := datagen.Run(t.Context(), datagen.Config{Kafka: kafka, Database: dsn, Count: count, Rate: rate,
			Start:     start,
			EventRate: 100, Seed: uint64(start.UnixNano())}); err != nil {
			t.Fatal(err)
		}
	}
	catchUp := func() {
		t.Helper()
		job, err := pipeline.New(pipeline.Config{Kafka: kafka, Database: dsn, UntilCaughtUp: true,
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			t.Fatal(err)
		}
		if err := job.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	generate(2000, 0, time.Now().Add(-5*time.Hour))
	catchUp()
	generate(400, 400, time.Now())
	catchUp()
	if err := deleteRecords(t.Context(), admin, time.Now().Add(-keepRecords)); err != nil {
		t.Fatal(err)
	}
	generate(400, 400, time.Now())
	catchUp()
	generate(400, 400, time.Now())
	catchUp()
	report := verify(t, places{kafka: broker.ListenAddrs()[0], database: dsn})
	if report.Pending() != 0 || report.Unverifiable == 0 || report.Rows <= report.Unverifiable {
		t.Errorf("verify: %+v", report)
	}
}

func size(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && !entry.IsDir() {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestSlept(t *testing.T) {
	for _, row := range []struct {
		wall, awake time.Duration
		want        bool
	}{
		{time.Minute, time.Minute, false},
		{10 * time.Minute, 10*time.Minute - time.Second, false}, // the wall clock was set a little
		{8 * time.Hour, 10 * time.Second, true},
		{-time.Hour, 10 * time.Second, false},
	} {
		if got := slept(row.wall, row.awake); got != row.want {
			t.Errorf("%s by the wall, %s awake: %t", row.wall, row.awake, got)
		}
	}
}
