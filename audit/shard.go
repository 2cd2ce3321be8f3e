package audit

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// noTime is a time that is not known, before all others. endless is after all others.
const (
	noTime  = math.MinInt64
	endless = math.MaxInt64
)

// shard is what a checkouts partition had stored in the snapshot. Records below its positions have
// had their effect on the shard's rows, and only on those. Times are microseconds since the Unix
// epoch.
type shard struct {
	next         int64   // every checkout below it is a row or a dead letter
	recent       int64   // every checkout below it is before finalBefore
	clicks       []int64 // clicks_next
	restore      []int64 // clicks_restore: every click below is before expireBefore
	latest       []int64 // by clicks partition, the greatest event time below clicks_next; noTime: there was none
	finalBefore  int64   // noTime: nothing is final
	expireBefore int64   // noTime: not known
	committed    time.Time
}

// hasRead says whether the shard has read the click, so that its rows must have it.
func (s shard) hasRead(partition int32, offset int64) bool {
	return int(partition) < len(s.clicks) && offset < s.clicks[partition]
}

// readByAll says whether every shard had read a click and stored what it meant for its rows.
func (s *snapshot) readByAll(partition int32, offset int64) bool {
	return int(partition) < len(s.clicksLeast) && offset < s.clicksLeast[partition]
}

// finalAt says whether rows of a time are final in every shard.
func (s *snapshot) finalAt(t int64) bool {
	for _, p := range s.shards {
		if t >= p.finalBefore {
			return false
		}
	}
	return true
}

// readShards reads how far each shard was.
func (r *run) readShards(ctx context.Context, tx pgx.Tx) error {
	s := &r.snap
	s.shards = map[int32]shard{}
	var partition int32
	var p shard
	var latest []pgtype.Timestamptz
	var final, expire pgtype.Timestamptz
	var ahead bool
	dest := []any{&partition, &p.next, &p.recent, &p.clicks, &p.restore, &latest, &final, &expire, &p.committed, &ahead}
	err := each(ctx, tx, "read offsets of group "+r.cfg.Group, dest, func() error {
		p.finalBefore, p.expireBefore, p.committed = instant(final), instant(expire), p.committed.UTC()
		for _, at := range latest {
			p.latest = append(p.latest, instant(at))
		}
		if len(s.shards) == 0 {
			s.clicksLeast = append([]int64(nil), p.clicks...)
		}
		// A shard has not read partitions that it does not list.
		s.clicksLeast = s.clicksLeast[:min(len(s.clicksLeast), len(p.clicks))]
		for i := range s.clicksLeast {
			s.clicksLeast[i] = min(s.clicksLeast[i], p.clicks[i])
		}
		if ahead {
			r.note("checkouts partition %d: the stored watermark is ahead of the clock: "+
				"events noted as late because of it do not excuse a wrong row", partition)
		}
		s.shards[partition] = p
		p, latest = shard{}, nil
		return nil
	}, `SELECT partition, next_offset, recent_offset, clicks_next, clicks_restore, clicks_latest,
		       final_before, expire_before, committed_at,
		       coalesce(watermark > now() + $3 * interval '1 microsecond', false)
		FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 ORDER BY partition`,
		r.cfg.Group, s.topics[topicCheckouts].name, s.clockSlack())
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM firstclick.instances
			WHERE group_id = $1 AND heartbeat_at > now() - interval '1 minute')`,
		r.cfg.Group).Scan(&s.running)
	if err != nil {
		return fmt.Errorf("read instances of group %s: %w", r.cfg.Group, err)
	}
	return nil
}
