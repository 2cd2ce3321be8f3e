package demo

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	boundEvery = time.Minute
	// deleteAtOnce keeps one statement short: the pipeline's transactions wait for no lock of it, but share the disk.
	deleteAtOnce = 20_000
)

// retention is the broker, as far as it drops old records.
type retention interface{ ApplyRetention() }

// bound drops what is old, every minute, until ctx ends.
func bound(ctx context.Context, broker retention, pool *pgxpool.Pool, logger *slog.Logger) error {
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
		if slept(elapsed(last, now)) {
			// The machine was asleep: what lies in Kafka unread became old meanwhile. Let the pipeline read it first.
			last = now
			continue
		}
		last = now
		broker.ApplyRetention()
		deleted, err := deleteOld(ctx, pool, now.Add(-keepRows))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			logger.WarnContext(ctx, "old rows stay for now", "cause", err)
		case deleted > 0:
			logger.DebugContext(ctx, "dropped old rows", "rows", deleted)
		}
	}
}

// slept says whether the machine was asleep: the wall clock went on by much more than the monotonic one, which then stands still.
func slept(wall, awake time.Duration) bool { return wall-awake > time.Minute }

// elapsed is the time between two readings by the wall clock and by the monotonic one.
func elapsed(before, after time.Time) (wall, awake time.Duration) {
	return after.Round(0).Sub(before.Round(0)), after.Sub(before)
}

// deleteOld deletes what is older than the cutoff: rows by their checkout's time, our own by when they were noted.
func deleteOld(ctx context.Context, pool *pgxpool.Pool, cutoff time.Time) (int64, error) {
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
		statement := fmt.Sprintf("DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %[1]s WHERE %[2]s < %[3]s LIMIT %[4]d))",
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
