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
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/pgtest"
)

func TestOldRowsGo(t *testing.T) {
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	// Minutes ago 1, 3, 5, ...: more old rows than one statement deletes. In another zone than UTC, to see that it does not matter.
	const rows = deleteAtOnce + 500
	if _, err := pool.Exec(ctx, `INSERT INTO commerce.attributed_checkouts (checkout_id, checkout_time)
		SELECT 'old' || n, now() AT TIME ZONE 'UTC' - interval '1 hour 1 minute' FROM generate_series(1, $1::int) n
		UNION ALL SELECT 'new' || n, now() AT TIME ZONE 'UTC' - interval '59 minutes' FROM generate_series(1, 10) n`, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `INSERT INTO firstclick.unknown_users (user_id, checkout_id, noted_at)
		VALUES (1, 'old1', now() - interval '2 hours'), (1, 'new1', now())`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `INSERT INTO firstclick.dead_letters (group_id, topic, partition, "offset", reason, payload_size, created_at)
		VALUES ('g', 'clicks', 0, 1, 'json', 0, now() - interval '2 hours'), ('g', 'clicks', 0, 2, 'json', 0, now())`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, "SET TIME ZONE 'Asia/Tokyo'"); err != nil {
		t.Fatal(err)
	}
	deleted, err := deleteOld(ctx, pool, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if deleted != rows+2 {
		t.Errorf("deleted %d, want %d", deleted, rows+2)
	}
	var left, letters, unknown int
	if err := pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM commerce.attributed_checkouts WHERE checkout_id LIKE 'new%'),
		(SELECT count(*) FROM firstclick.dead_letters), (SELECT count(*) FROM firstclick.unknown_users)`).Scan(&left, &letters, &unknown); err != nil {
		t.Fatal(err)
	}
	if left != 10 || letters != 1 || unknown != 1 {
		t.Errorf("left: %d rows, %d dead letters, %d unknown users", left, letters, unknown)
	}
}

// Old records go, with their files; the young stay; all of it survives a restart of the broker.
func TestOldRecordsGo(t *testing.T) {
	dir := t.TempDir()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	broker, err := startBroker(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	value := []byte(strings.Repeat("x", 512<<10))
	produce := func(n int, age time.Duration) {
		for range n {
			record := &kgo.Record{Topic: clicksTopic, Partition: 1, Value: value, Timestamp: time.Now().Add(-age)}
			if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(40, keepRecords+time.Minute)
	produce(3, keepRecords-time.Minute)
	full := size(t, dir)
	broker.ApplyRetention()
	if left := size(t, dir); full < 20<<20 || left > 10<<20 {
		t.Errorf("%d bytes before, %d after", full, left)
	}
	client.Close()
	broker.Close()

	if broker, err = startBroker(dir, 0, logger); err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	if client, err = kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...)); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(t.Context(), clicksTopic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), clicksTopic)
	if err != nil {
		t.Fatal(err)
	}
	start, _ := starts.Lookup(clicksTopic, 1)
	end, _ := ends.Lookup(clicksTopic, 1)
	if start.Offset != 40 || end.Offset != 43 {
		t.Errorf("log from %d to %d, want 40 to 43", start.Offset, end.Offset)
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
