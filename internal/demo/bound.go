package demo

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"firstclick/internal/kafkaconn"
)

const (
	boundEvery   = time.Minute
	deleteAtOnce = 20_000 // rows; a short statement leaves the disk to the pipeline
)

// bound deletes old records and rows every minute, until ctx ends.
func bound(ctx context.Context, kafka kafkaconn.Config, pool *pgxpool.Pool, logger *slog.Logger) error {
	opts, err := kafka.Opts()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ticker := time.NewTicker(boundEvery)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		// After a sleep of the machine there are old records that the pipeline has not read yet.
		asleep := slept(elapsed(last, now))
		last = now
		if asleep {
			continue
		}
		err := deleteRecords(ctx, admin, now.Add(-keepRecords))
		if err == nil { // records first: a record that exists keeps its row
			_, err = deleteRows(ctx, pool, now.Add(-keepRows))
		}
		if err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "old records and rows stay for now", "cause", err)
		}
	}
}

// deleteRecords deletes the records before the first one that is not older than the cutoff, as
// Kafka does. kfake's own retention deletes up to the last old record: one old event, sent by hand,
// would delete all young ones before it.
func deleteRecords(ctx context.Context, admin *kadm.Client, cutoff time.Time) error {
	ends, err := admin.ListEndOffsets(ctx, clicksTopic, checkoutsTopic)
	if err != nil {
		return fmt.Errorf("read the end offsets: %w", err)
	}
	young, err := admin.ListOffsetsAfterMilli(ctx, cutoff.UnixMilli(), clicksTopic, checkoutsTopic)
	if err != nil {
		return fmt.Errorf("read where young records begin: %w", err)
	}
	before := make(kadm.Offsets)
	young.Each(func(o kadm.ListedOffset) {
		end, ok := ends.Lookup(o.Topic, o.Partition)
		// If all is old, the last segment stays until there is a young record: kfake reads its
		// offsets from the files.
		if ok && o.Err == nil && o.Offset > 0 && o.Offset < end.Offset {
			before.AddOffset(o.Topic, o.Partition, o.Offset, -1)
		}
	})
	if len(before) == 0 {
		return nil
	}
	deleted, err := admin.DeleteRecords(ctx, before)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return fmt.Errorf("delete old records: %w", err)
	}
	return nil
}

// slept says whether the machine was asleep: the monotonic clock then stands still, the wall clock
// not.
func slept(wall, awake time.Duration) bool { return wall-awake > time.Minute }

// elapsed returns the time between two readings by the wall clock and by the monotonic clock.
func elapsed(before, after time.Time) (wall, awake time.Duration) {
	return after.Round(0).Sub(before.Round(0)), after.Sub(before)
}

// deleteRows deletes what is older than the cutoff: rows by the time of their checkout, rows of our
// own tables by the time of their insertion.
func deleteRows(ctx context.Context, pool *pgxpool.Pool, cutoff time.Time) (int64, error) {
	var total int64
	for _, old := range []struct{ table, column string }{
		{"commerce.attributed_checkouts", "checkout_time"},
		{"firstclick.unknown_users", "noted_at"},
		{"firstclick.dead_letters", "created_at"},
		{"firstclick.late", "recorded_at"},
		{"firstclick.instances", "heartbeat_at"},
	} {
		value := "$1::timestamptz"
		if old.column == "checkout_time" {
			value = "($1::timestamptz AT TIME ZONE 'UTC')"
		}
		statement := fmt.Sprintf(`DELETE FROM %[1]s
			WHERE ctid = ANY (ARRAY(SELECT ctid FROM %[1]s WHERE %[2]s < %[3]s LIMIT %[4]d))`,
			old.table, old.column, value, deleteAtOnce)
		for {
			tag, err := pool.Exec(ctx, statement, cutoff)
			if err != nil {
				return total, fmt.Errorf("delete old rows of %s: %w", old.table, err)
			}
			total += tag.RowsAffected()
			if tag.RowsAffected() < deleteAtOnce {
				break
			}
		}
	}
	return total, nil
}
