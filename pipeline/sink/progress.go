package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

const progressSQL = `SELECT group_id, clicks_topic, checkouts_topic, clicks_topic_id, checkouts_topic_id,
		(extract(epoch FROM window_length) * 1000000)::bigint, (extract(epoch FROM lateness) * 1000000)::bigint,
		(extract(epoch FROM out_of_order) * 1000000)::bigint, (extract(epoch FROM max_future_skew) * 1000000)::bigint,
		time_zone, start, clicks_start, checkouts_start, watermark, final_before
	FROM firstclick.progress WHERE group_id = $1`

// EnsureProgress stores p if the group has no row yet, and returns the stored row. What differs
// from p is for the caller to decide upon.
func (s *Sink) EnsureProgress(ctx context.Context, p Progress) (stored Progress, err error) {
	err = s.run(ctx, "read the group's progress", func(ctx context.Context, conn *pgx.Conn) error {
		var b pgx.Batch
		b.Queue(`INSERT INTO firstclick.progress (group_id, clicks_topic, checkouts_topic,
				clicks_topic_id, checkouts_topic_id, window_length, lateness, out_of_order, time_zone, start,
				clicks_start, checkouts_start, watermark, final_before, max_future_skew)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
			ON CONFLICT (group_id) DO NOTHING`,
			p.Group, p.ClicksTopic, p.CheckoutsTopic, optionalUUID(p.ClicksTopicID), optionalUUID(p.CheckoutsTopicID),
			interval(p.Window), interval(p.Lateness), interval(p.OutOfOrder), p.Zone, p.Start,
			notNull(p.ClicksStart), notNull(p.CheckoutsStart),
			instant(p.Watermark), instant(p.FinalBefore), interval(p.MaxSkew))
		b.Queue(progressSQL, p.Group).Query(func(rows pgx.Rows) (err error) {
			stored, err = pgx.CollectExactlyOneRow(rows, scanProgress)
			return err
		})
		return conn.SendBatch(ctx, &b).Close()
	})
	return stored, err
}

// Progress returns the group's stored row; ok is false if there is none.
func (s *Sink) Progress(ctx context.Context, group string) (p Progress, ok bool, err error) {
	found, err := query(ctx, s, "read the group's progress", scanProgress, progressSQL, group)
	if len(found) == 0 {
		return Progress{}, false, err
	}
	return found[0], true, err
}

func scanProgress(row pgx.CollectableRow) (Progress, error) {
	var p Progress
	var clicksID, checkoutsID pgtype.UUID
	var window, lateness, outOfOrder, skew int64
	var watermark, finalBefore pgtype.Timestamptz
	err := row.Scan(&p.Group, &p.ClicksTopic, &p.CheckoutsTopic, &clicksID, &checkoutsID,
		&window, &lateness, &outOfOrder, &skew, &p.Zone, &p.Start,
		&p.ClicksStart, &p.CheckoutsStart, &watermark, &finalBefore)
	p.ClicksTopicID, p.CheckoutsTopicID = clicksID.Bytes, checkoutsID.Bytes
	p.Window, p.Lateness = time.Duration(window)*time.Microsecond, time.Duration(lateness)*time.Microsecond
	p.OutOfOrder, p.MaxSkew = time.Duration(outOfOrder)*time.Microsecond, time.Duration(skew)*time.Microsecond
	p.Watermark, p.FinalBefore = micros(watermark), micros(finalBefore)
	return p, err
}

// advanceSQL writes only if something moves: every instance runs it each second. A time is unknown
// while a shard has none, or while a partition that the group began with has no shard yet.
const advanceSQL = `WITH shards AS MATERIALIZED (
		SELECT p.group_id, min(o.watermark) AS watermark, min(o.final_before) AS final_before,
			count(*) AS n, count(o.watermark) AS with_watermark, count(o.final_before) AS with_final_before,
			count(*) FILTER (WHERE o.partition < cardinality(p.checkouts_start))
				>= cardinality(p.checkouts_start) AS complete
		FROM firstclick.progress p JOIN firstclick.offsets o ON o.group_id = p.group_id AND o.topic = p.checkouts_topic
		WHERE p.group_id = $1 GROUP BY p.group_id),
	least AS (
		SELECT group_id, CASE WHEN complete AND with_watermark = n THEN watermark END AS watermark,
			CASE WHEN complete AND with_final_before = n THEN final_before END AS final_before FROM shards)
	UPDATE firstclick.progress p SET watermark = greatest(p.watermark, l.watermark),
		final_before = greatest(p.final_before, l.final_before), updated_at = now()
	FROM least l WHERE p.group_id = l.group_id
		AND (greatest(p.watermark, l.watermark) IS DISTINCT FROM p.watermark
			OR greatest(p.final_before, l.final_before) IS DISTINCT FROM p.final_before)`

// AdvanceProgress moves the group's watermark and final_before up to the least over its shards,
// never back, and returns them (or event.NoTime).
func (s *Sink) AdvanceProgress(ctx context.Context, group string) (watermark, finalBefore int64, err error) {
	err = s.run(ctx, "advance the group's progress", func(ctx context.Context, conn *pgx.Conn) error {
		var b pgx.Batch
		b.Queue(advanceSQL, group)
		const read = `SELECT watermark, final_before FROM firstclick.progress WHERE group_id = $1`
		b.Queue(read, group).QueryRow(func(row pgx.Row) error {
			var w, f pgtype.Timestamptz
			err := row.Scan(&w, &f)
			watermark, finalBefore = micros(w), micros(f)
			return err
		})
		return conn.SendBatch(ctx, &b).Close()
	})
	return watermark, finalBefore, err
}

// Doubtful is a shard whose stored times lie ahead of every clock: a version that believed any
// event's time stored them.
type Doubtful struct {
	State
	CommittedAt int64 // microseconds, by Postgres' clock: the latest time at which anything was stored of the shard
}

// Doubtful returns the shards whose stored times are more than skew ahead of two clocks: ours,
// which says now, and that of Postgres as it was then (invariant: a clock of ours that is wrong
// makes nothing doubtful). A list of latest clicks may hold what lies a window further: see
// join.Core.Clock. A time beyond the year 9999 there says that nobody knows.
func (s *Sink) Doubtful(
	ctx context.Context, group, topic string, now int64, skew, window time.Duration,
) ([]Doubtful, error) {
	scan := func(row pgx.CollectableRow) (d Doubtful, err error) {
		var at pgtype.Timestamptz
		d.State, err = scanState(row, &at)
		d.CommittedAt = micros(at)
		return d, err
	}
	return query(ctx, s, "look for times ahead of every clock", scan, `SELECT `+stateColumns+`, committed_at
		FROM firstclick.offsets, LATERAL (SELECT greatest($3, committed_at) + $4 AS latest) AS believed
		WHERE group_id = $1 AND topic = $2 AND (greatest(watermark, final_before, expire_before) > latest
			OR EXISTS (SELECT FROM unnest(clicks_latest) t WHERE t > latest + $5 AND t < '10000-01-01 UTC'))
		ORDER BY partition`, group, topic, instant(now), interval(skew), interval(window))
}

// Heal stores a doubtful shard's position with times that went back, and nothing if somebody has
// written meanwhile.
func (s *Sink) Heal(ctx context.Context, d *Doubtful) error {
	c, p := &d.Claim, &d.Position
	return s.exec(ctx, fmt.Sprintf("take back the times of checkouts partition %d", c.Partition),
		`UPDATE firstclick.offsets SET watermark = $6, final_before = $7, expire_before = $8,
			clicks_restore = $9, clicks_latest = $10, recent_offset = $11
		WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner IS NOT DISTINCT FROM $4 AND commits = $5`,
		c.Group, c.Topic, c.Partition, optionalUUID(c.Owner), c.Commits,
		instant(p.Watermark), instant(p.FinalBefore), instant(p.ExpireBefore),
		notNull(p.ClicksRestore), list(p.ClicksLatest, instant), p.OpenOffset)
}

// HealProgress forgets a group's watermark and final_before if they lie ahead of every clock.
// AdvanceProgress finds them anew.
func (s *Sink) HealProgress(ctx context.Context, group string, now int64, skew time.Duration) error {
	return s.exec(ctx, "take back the group's progress", `UPDATE firstclick.progress
		SET watermark = NULL, final_before = NULL
		WHERE group_id = $1 AND greatest(watermark, final_before) > greatest($2, updated_at) + $3`,
		group, instant(now), interval(skew))
}
