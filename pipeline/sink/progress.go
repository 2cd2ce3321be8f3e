package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

const progressColumns = `group_id, clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id,
	(extract(epoch FROM window_length) * 1000000)::bigint, (extract(epoch FROM lateness) * 1000000)::bigint,
	(extract(epoch FROM out_of_order) * 1000000)::bigint, (extract(epoch FROM max_future_skew) * 1000000)::bigint, time_zone, start, clicks_start, checkouts_start, watermark, final_before`

// EnsureProgress stores p where the group has no row yet, and returns the stored row. What differs from p is for the caller to judge.
func (s *Sink) EnsureProgress(ctx context.Context, p Progress) (Progress, error) {
	var out Progress
	err := s.retry(ctx, "read the group's progress", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			var b pgx.Batch
			b.Queue(`INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id,
				window_length, lateness, out_of_order, time_zone, start, clicks_start, checkouts_start, watermark, final_before, max_future_skew)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (group_id) DO NOTHING`,
				p.Group, p.ClicksTopic, p.CheckoutsTopic, optionalUUID(p.ClicksTopicID), optionalUUID(p.CheckoutsTopicID),
				interval(p.Window), interval(p.Lateness), interval(p.OutOfOrder), p.Zone, p.Start,
				int64s(p.ClicksStart), int64s(p.CheckoutsStart), instant(p.Watermark), instant(p.FinalBefore), interval(p.MaxSkew))
			b.Queue(`SELECT `+progressColumns+` FROM firstclick.progress WHERE group_id = $1`, p.Group)
			results := conn.SendBatch(ctx, &b)
			defer results.Close()
			if _, err := results.Exec(); err != nil {
				return fmt.Errorf("store progress: %w", err)
			}
			rows, err := results.Query()
			if err != nil {
				return err
			}
			out, err = pgx.CollectExactlyOneRow(rows, scanProgress)
			return err
		})
	})
	return out, err
}

// Progress returns the group's stored row; ok is false where there is none.
func (s *Sink) Progress(ctx context.Context, group string) (p Progress, ok bool, err error) {
	err = s.retry(ctx, "read the group's progress", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			rows, err := conn.Query(ctx, `SELECT `+progressColumns+` FROM firstclick.progress WHERE group_id = $1`, group)
			if err != nil {
				return err
			}
			found, err := pgx.CollectRows(rows, scanProgress)
			if ok = len(found) > 0; ok {
				p = found[0]
			}
			return err
		})
	})
	return p, ok, err
}

func interval(d time.Duration) pgtype.Interval {
	return pgtype.Interval{Microseconds: d.Microseconds(), Valid: true}
}

func scanProgress(row pgx.CollectableRow) (Progress, error) {
	var p Progress
	var clicksID, checkoutsID pgtype.UUID
	var window, lateness, outOfOrder, skew int64
	var watermark, finalBefore pgtype.Timestamptz
	err := row.Scan(&p.Group, &p.ClicksTopic, &p.CheckoutsTopic, &clicksID, &checkoutsID, &window, &lateness, &outOfOrder, &skew,
		&p.Zone, &p.Start, &p.ClicksStart, &p.CheckoutsStart, &watermark, &finalBefore)
	p.ClicksTopicID, p.CheckoutsTopicID = clicksID.Bytes, checkoutsID.Bytes
	p.Window, p.Lateness, p.OutOfOrder = time.Duration(window)*time.Microsecond, time.Duration(lateness)*time.Microsecond, time.Duration(outOfOrder)*time.Microsecond
	p.MaxSkew = time.Duration(skew) * time.Microsecond
	p.Watermark, p.FinalBefore = micros(watermark), micros(finalBefore)
	return p, err
}

// settleSQL writes only where something moves: it is run every second by every instance. A time is unknown while a shard has none, or while a
// partition that the group began with has no shard yet.
const settleSQL = `WITH least AS MATERIALIZED (
		SELECT p.group_id,
			CASE WHEN count(*) = count(o.watermark) AND count(*) FILTER (WHERE o.partition < cardinality(p.checkouts_start)) >= cardinality(p.checkouts_start) THEN min(o.watermark) END AS watermark,
			CASE WHEN count(*) = count(o.final_before) AND count(*) FILTER (WHERE o.partition < cardinality(p.checkouts_start)) >= cardinality(p.checkouts_start) THEN min(o.final_before) END AS final_before
		FROM firstclick.progress p JOIN firstclick.offsets o ON o.group_id = p.group_id AND o.topic = p.checkouts_topic
		WHERE p.group_id = $1 GROUP BY p.group_id)
	UPDATE firstclick.progress p SET watermark = greatest(p.watermark, l.watermark), final_before = greatest(p.final_before, l.final_before), updated_at = now()
	FROM least l WHERE p.group_id = l.group_id
	AND (greatest(p.watermark, l.watermark) IS DISTINCT FROM p.watermark OR greatest(p.final_before, l.final_before) IS DISTINCT FROM p.final_before)`

// SettleProgress moves the group's watermark and final_before up to the least over its shards, never back, and returns them (or join.NoTime).
func (s *Sink) SettleProgress(ctx context.Context, group string) (watermark, finalBefore int64, err error) {
	err = s.retry(ctx, "settle the group's progress", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			var b pgx.Batch
			b.Queue(settleSQL, group)
			b.Queue(`SELECT watermark, final_before FROM firstclick.progress WHERE group_id = $1`, group)
			results := conn.SendBatch(ctx, &b)
			defer results.Close()
			if _, err := results.Exec(); err != nil {
				return err
			}
			var w, f pgtype.Timestamptz
			if err := results.QueryRow().Scan(&w, &f); err != nil {
				return err
			}
			watermark, finalBefore = micros(w), micros(f)
			return nil
		})
	})
	return watermark, finalBefore, err
}

// Announce writes this instance's row in firstclick.instances, and that it is alive. Rows of instances that ended without a word stay for a day, for
// whoever looks for them, and those of a frozen one as long as its sessions stand, for the takeover.
func (s *Sink) Announce(ctx context.Context, a Announcement) error {
	return s.exec(ctx, "announce this instance", `WITH gone AS (DELETE FROM firstclick.instances WHERE group_id IN ($2, '') AND instance <> $1 AND heartbeat_at < now() - interval '1 day'
			AND NOT EXISTS (SELECT FROM unnest(sessions) s JOIN pg_stat_activity a ON s = `+sessionOfActivity+`))
		INSERT INTO firstclick.instances (instance, group_id, host, pid, version, listen, shards)
		VALUES ($1, $2, $3, $4, $5, nullif($6, ''), $7)
		ON CONFLICT (instance) DO UPDATE SET group_id = excluded.group_id, host = excluded.host, pid = excluded.pid, version = excluded.version,
			listen = excluded.listen, shards = excluded.shards, heartbeat_at = now()`,
		s.application, a.Group, a.Host, int32(a.PID), a.Version, a.Listen, int32s(a.Shards))
}

// Leave is for the end, when nothing of this instance runs any more: it removes the instance's row, and lets go of shards that still carry its
// name, as one does whose takeover was cut short after Postgres had made it.
func (s *Sink) Leave(ctx context.Context) error {
	err := s.exec(ctx, "let go of what is left", `UPDATE firstclick.offsets SET owner = NULL, instance = NULL WHERE instance = $1`, s.application)
	if err != nil {
		return err
	}
	return s.exec(ctx, "leave", `DELETE FROM firstclick.instances WHERE instance = $1`, s.application)
}
