package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Doubtful is a shard whose stored times lie ahead of every clock: a version that believed any event's time stored them.
type Doubtful struct {
	State
	CommittedAt int64 // microseconds, by Postgres' clock: the latest time at which anything was stored of the shard
}

// doubtfulSQL asks two witnesses, our clock of now ($3) and Postgres' of then (invariant: a clock of ours that is wrong makes nothing doubtful).
// A list of latest clicks may hold what lies a window ($5) further: see join.Core.Clock. Beyond the year 9999 it says that nobody knows.
const doubtfulSQL = `SELECT ` + stateColumns + `, committed_at FROM firstclick.offsets
	WHERE group_id = $1 AND topic = $2 AND (greatest(watermark, final_before, expire_before) > greatest($3, committed_at) + $4
		OR EXISTS (SELECT FROM unnest(clicks_latest) t WHERE t > greatest($3, committed_at) + $4 + $5 AND t < '10000-01-01 UTC'))
	ORDER BY partition`

// Doubtful returns the shards whose stored times are more than skew ahead of our clock, which says now, and of Postgres' as it was then.
func (s *Sink) Doubtful(ctx context.Context, group, topic string, now int64, skew, window time.Duration) ([]Doubtful, error) {
	var out []Doubtful
	err := s.retry(ctx, "look for times ahead of every clock", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			rows, err := conn.Query(ctx, doubtfulSQL, group, topic, instant(now), interval(skew), interval(window))
			if err != nil {
				return err
			}
			out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Doubtful, err error) {
				var at pgtype.Timestamptz
				d.State, err = scanState(row, &at)
				d.CommittedAt = micros(at)
				return d, err
			})
			return err
		})
	})
	return out, err
}

// Heal stores a doubtful shard's position with times that went back, and nothing where somebody has written meanwhile.
func (s *Sink) Heal(ctx context.Context, d *Doubtful) error {
	c, p := &d.Claim, &d.Position
	return s.exec(ctx, fmt.Sprintf("take back the times of checkouts partition %d", c.Partition), `UPDATE firstclick.offsets SET watermark = $6, final_before = $7,
		expire_before = $8, clicks_restore = $9, clicks_latest = $10, recent_offset = $11
		WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner IS NOT DISTINCT FROM $4 AND commits = $5`,
		c.Group, c.Topic, c.Partition, optionalUUID(c.Owner), c.Commits, instant(p.Watermark), instant(p.FinalBefore), instant(p.ExpireBefore),
		int64s(p.ClicksRestore), instants(p.ClicksLatest), p.RecentOffset)
}

// HealProgress forgets a group's watermark and final_before where they lie ahead of every clock. SettleProgress finds them anew.
func (s *Sink) HealProgress(ctx context.Context, group string, now int64, skew time.Duration) error {
	return s.exec(ctx, "take back the group's progress", `UPDATE firstclick.progress SET watermark = NULL, final_before = NULL
		WHERE group_id = $1 AND greatest(watermark, final_before) > greatest($2, updated_at) + $3`, group, instant(now), interval(skew))
}
