package audit

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// noTime stands for a time that is not known, before all others; endless for one that nothing is at or after.
const (
	noTime  = math.MinInt64
	endless = math.MaxInt64
)

// clockSlack is how far, in microseconds, the clocks may be apart that a stored time and an event's time come from: what an event may be
// ahead of its record, and a minute for Postgres' clock against the instances'.
func (s *snapshot) clockSlack() int64 { return s.skew + 60*1_000_000 }

// finalAt says whether rows of a time are final in every shard.
func (s *snapshot) finalAt(t int64) bool {
	for _, p := range s.shards {
		if t >= p.finalBefore {
			return false
		}
	}
	return true
}

// instant is a stored time in microseconds since the Unix epoch: noTime where it is NULL.
func instant(t pgtype.Timestamptz) int64 {
	switch {
	case !t.Valid, t.InfinityModifier == pgtype.NegativeInfinity:
		return noTime
	case t.InfinityModifier == pgtype.Infinity:
		return endless
	}
	return t.Time.UnixMicro()
}

// position is what a shard had stored in the snapshot. Everything below it has had its effect on the shard's rows, and only on those.
type position struct {
	next, recent int64   // every checkout below next is a row or a dead letter; every one below recent has an event time before finalBefore
	clicks       []int64 // clicks_next
	restore      []int64 // clicks_restore: every click below has an event time before expireBefore
	latest       []int64 // by clicks partition, the greatest event time of a click below clicks_next; noTime: there was none
	finalBefore  int64   // noTime: nothing is final
	expireBefore int64   // noTime: not known
	committed    time.Time
}

// passed says whether the shard has read the click, and so whether its rows must have it.
func (p position) passed(partition int32, offset int64) bool {
	return int(partition) < len(p.clicks) && offset < p.clicks[partition]
}

// readPositions reads how far each shard was. What waits is counted up to where every shard has read.
func (a *audit) readPositions(ctx context.Context, tx pgx.Tx) error {
	s := &a.snap
	s.shards = map[int32]position{}
	rows, err := tx.Query(ctx, `
		SELECT partition, next_offset, recent_offset, clicks_next, clicks_restore, clicks_latest, final_before, expire_before, committed_at,
		       coalesce(watermark > now() + $3 * interval '1 microsecond', false)
		FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 ORDER BY partition`, a.cfg.Group, s.checkoutsTopic, s.clockSlack())
	if err != nil {
		return fmt.Errorf("read offsets of group %s: %w", a.cfg.Group, err)
	}
	var partition int32
	var p position
	var latest []pgtype.Timestamptz
	var final, expire pgtype.Timestamptz
	var ahead bool
	_, err = pgx.ForEachRow(rows, []any{&partition, &p.next, &p.recent, &p.clicks, &p.restore, &latest, &final, &expire, &p.committed, &ahead}, func() error {
		p.finalBefore, p.expireBefore, p.committed = instant(final), instant(expire), p.committed.UTC()
		for _, at := range latest {
			p.latest = append(p.latest, instant(at))
		}
		if len(s.shards) == 0 {
			s.clicksNext = append([]int64(nil), p.clicks...)
		}
		s.clicksNext = s.clicksNext[:min(len(s.clicksNext), len(p.clicks))] // what one shard never heard of it has not read
		for i, next := range p.clicks {
			if i < len(s.clicksNext) {
				s.clicksNext[i] = min(s.clicksNext[i], next)
			}
			if i < len(s.clicksMost) {
				s.clicksMost[i] = max(s.clicksMost[i], next)
			} else {
				s.clicksMost = append(s.clicksMost, next)
			}
		}
		if ahead {
			a.note("checkouts partition %d: the stored watermark is ahead of the clock: what was noted as late because of it explains no row", partition)
		}
		s.shards[partition] = p
		p, latest = position{}, nil
		return nil
	})
	if err != nil {
		return fmt.Errorf("read offsets of group %s: %w", a.cfg.Group, err)
	}
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM firstclick.instances WHERE group_id = $1 AND heartbeat_at > now() - interval '1 minute')`,
		a.cfg.Group).Scan(&s.running)
	if err != nil {
		return fmt.Errorf("read instances of group %s: %w", a.cfg.Group, err)
	}
	return nil
}
