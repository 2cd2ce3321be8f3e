package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	gonePoll  = 20 * time.Millisecond
	goneLimit = 30 * time.Second // then it is said, and tried again
)

// lookUp finds out whether a transaction landed whose COMMIT was not answered. The session that may still be at it is among the lost ones, which
// withConn ends first: with it gone, what the offsets rows say is final.
func (s *Sink) lookUp(ctx context.Context, w *work) (landed bool, err error) {
	var found verdicts
	err = s.retry(ctx, "look up a transaction whose commit was not answered", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			stored, err := readShards(ctx, conn, w.batches, true)
			if err != nil {
				return err
			}
			found = w.judge(stored)
			return nil
		})
	})
	if err != nil {
		return false, err
	}
	return found.decide(w)
}

// untilGone calls end until it finds no session any more.
func (s *Sink) untilGone(ctx context.Context, end func(ctx context.Context) (int64, error)) error {
	ticker := time.NewTicker(gonePoll)
	defer ticker.Stop()
	limit := time.NewTimer(s.goneLimit)
	defer limit.Stop()
	for {
		n, err := end(ctx)
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			return fmt.Errorf("end sessions: %d are still there %v after pg_terminate_backend: %w", n, s.goneLimit, &passingError{causeConnection})
		case <-ticker.C:
		}
	}
}

// readShards reads the offsets rows of the batches, which are in lock order. Rows that are missing are left out.
func readShards(ctx context.Context, conn *pgx.Conn, batches []*Batch, lock bool) ([]State, error) {
	sql := `SELECT ` + stateColumns + ` FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 AND partition = $3`
	if lock {
		sql += ` FOR UPDATE`
	}
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	for _, batch := range batches {
		b.Queue(sql, batch.Claim.Group, batch.Claim.Topic, batch.Claim.Partition)
	}
	b.Queue("ROLLBACK")
	results := conn.SendBatch(ctx, &b)
	defer results.Close()
	if _, err := results.Exec(); err != nil {
		return nil, fmt.Errorf("read offsets: %w", err)
	}
	var out []State
	for range batches {
		rows, err := results.Query()
		if err != nil {
			return nil, fmt.Errorf("read offsets: %w", err)
		}
		states, err := pgx.CollectRows(rows, readState)
		if err != nil {
			return nil, fmt.Errorf("read offsets: %w", err)
		}
		out = append(out, states...)
	}
	return out, nil
}

// verdicts sort the shards of a Commit by what their offsets rows say.
type verdicts struct {
	fenced, rewound []int32
	landed, waiting int // shards that are ours still: commits +1, and commits as expected
	ahead           []int32
}

func (w *work) judge(stored []State) verdicts {
	var v verdicts
	for _, b := range w.batches {
		c := b.Claim
		var row *State
		for i := range stored {
			if compareShards(&stored[i].Claim, c) == 0 {
				row = &stored[i]
			}
		}
		switch {
		case row == nil:
			v.rewound = append(v.rewound, c.Partition)
		case row.Claim.Owner != c.Owner:
			v.fenced = append(v.fenced, c.Partition)
		case row.Claim.Commits < c.Commits:
			v.rewound = append(v.rewound, c.Partition)
		case row.Claim.Commits == c.Commits:
			v.waiting++
		case row.Claim.Commits == c.Commits+1:
			v.landed++
			v.ahead = append(v.ahead, c.Partition)
		default:
			v.ahead = append(v.ahead, c.Partition)
		}
	}
	return v
}

// refusal is why a transaction could not move its offsets rows. Shards that are as expected by now are tried again; one whose row has moved
// further under its own owner was given with an old claim, and is fenced.
func (v verdicts) refusal() error {
	v.fenced = append(v.fenced, v.ahead...)
	if err := v.lost(false); err != nil {
		return err
	}
	return &passingError{causeOffsets}
}

func (v verdicts) lost(landed bool) error {
	var errs []error
	if len(v.fenced) > 0 {
		errs = append(errs, &FencedError{Partitions: v.fenced, Landed: landed})
	}
	if len(v.rewound) > 0 {
		errs = append(errs, &RewoundError{Partitions: v.rewound, Landed: landed})
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// decide tells whether the transaction landed, and moves the claims on where it did but not all shards are ours any more.
func (v verdicts) decide(w *work) (landed bool, err error) {
	if v.landed > 0 && v.waiting > 0 || len(v.ahead) > v.landed {
		return false, fmt.Errorf("offsets disagree about one transaction: %d shards have it, %d have not, ahead: %s",
			v.landed, v.waiting, partitionList(v.ahead))
	}
	if err := v.lost(v.landed > 0); err != nil {
		for _, b := range w.batches {
			if v.landed > 0 {
				b.Claim.Commits++
			}
		}
		return v.landed > 0, err
	}
	return v.landed > 0, nil
}

const stateColumns = `group_id, topic, partition, owner, commits, topic_id, coalesce(instance, ''), leader_epoch, next_offset, recent_offset,
	clicks_next, clicks_restore, clicks_epoch, watermark, final_before, expire_before, clicks_latest`

func readState(row pgx.CollectableRow) (State, error) { return scanState(row) }

// scanState reads stateColumns and what stands after them.
func scanState(row pgx.CollectableRow, more ...any) (State, error) {
	var st State
	var owner, topicID pgtype.UUID
	var watermark, finalBefore, expireBefore pgtype.Timestamptz
	var latest []pgtype.Timestamptz
	p := &st.Position
	err := row.Scan(append([]any{&st.Claim.Group, &st.Claim.Topic, &st.Claim.Partition, &owner, &st.Claim.Commits, &topicID, &st.Instance, &p.LeaderEpoch,
		&p.NextOffset, &p.RecentOffset, &p.ClicksNext, &p.ClicksRestore, &p.ClicksEpoch, &watermark, &finalBefore, &expireBefore, &latest}, more...)...)
	st.Claim.Owner, st.TopicID = owner.Bytes, topicID.Bytes
	p.Watermark, p.FinalBefore, p.ExpireBefore = micros(watermark), micros(finalBefore), micros(expireBefore)
	for _, t := range latest {
		p.ClicksLatest = append(p.ClicksLatest, micros(t))
	}
	return st, err
}
