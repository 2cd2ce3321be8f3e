package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/join/event"
)

// Claim takes a shard over, under a new owner, and returns it as it is stored. fresh is stored if
// there is no row of the shard yet (its Claim does not matter). If another instance owns the shard,
// all sessions of that instance in this database are ended first: one that is frozen in mid COPY
// holds keys that nothing else frees.
func (s *Sink) Claim(ctx context.Context, group, topic string, partition int32, fresh State) (State, error) {
	var owner [16]byte
	_, _ = rand.Read(owner[:])                                  // never fails
	owner[6], owner[8] = owner[6]&0x0f|0x40, owner[8]&0x3f|0x80 // a UUID of version 4
	key := []any{group, topic, partition}
	var st State
	what := fmt.Sprintf("claim checkouts partition %d", partition)
	err := s.run(ctx, what, func(ctx context.Context, conn *pgx.Conn) (err error) {
		if _, err = s.describe(ctx, conn); err != nil {
			return err
		}
		st, err = s.claimFresh(ctx, conn, key, owner, fresh)
		if err != nil || st.Claim.Owner == owner {
			return err
		}
		if st.Instance != "" && st.Instance != s.application {
			if err := s.endInstance(ctx, conn, st.Instance); err != nil {
				return err
			}
		}
		st, err = s.takeOver(ctx, conn, key, owner, st)
		return err
	})
	if err != nil {
		return State{}, err
	}
	return st, nil
}

// claimFresh stores fresh under owner if there is no row, and returns the stored row. It looks
// before it inserts: an INSERT with ON CONFLICT waits for a transaction that is changing the row,
// and a frozen owner's never ends.
func (s *Sink) claimFresh(ctx context.Context, conn *pgx.Conn, key []any, owner [16]byte, fresh State) (State, error) {
	const look = `SELECT ` + stateColumns + ` FROM firstclick.offsets
		WHERE group_id = $1 AND topic = $2 AND partition = $3`
	for range 2 {
		rows, _ := conn.Query(ctx, look, key...) // CollectExactlyOneRow returns its error
		st, err := pgx.CollectExactlyOneRow(rows, readState)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return State{}, fmt.Errorf("read a shard: %w", err)
		}
		args := append(append([]any{}, key...), optionalUUID(owner), s.application)
		_, err = conn.Exec(ctx, `INSERT INTO firstclick.offsets (group_id, topic, partition, owner, instance, topic_id,
				leader_epoch, next_offset, recent_offset, clicks_next, clicks_restore, clicks_epoch,
				watermark, final_before, expire_before, clicks_latest)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING`,
			append(args, positionArgs(fresh.TopicID, &fresh.Position)...)...)
		if err != nil {
			return State{}, fmt.Errorf("store a new shard: %w", err)
		}
	}
	return State{}, &passingError{causeOffsets} // deleted this moment
}

// takeOver makes owner the owner, if the one seen still is. It does not wait for a lock that
// another owner's session has come to hold meanwhile: the next attempt ends that session.
func (s *Sink) takeOver(
	ctx context.Context, conn *pgx.Conn, key []any, owner [16]byte, seen State,
) (st State, err error) {
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.Queue("SET LOCAL lock_timeout = '2s'")
	b.Queue(`UPDATE firstclick.offsets SET owner = $4, instance = $5
		WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner IS NOT DISTINCT FROM $6
		RETURNING `+stateColumns,
		append(append([]any{}, key...), optionalUUID(owner), s.application, optionalUUID(seen.Claim.Owner))...,
	).Query(func(rows pgx.Rows) (err error) {
		st, err = pgx.CollectExactlyOneRow(rows, readState)
		return err
	})
	b.Queue("COMMIT")
	err = conn.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return State{}, &passingError{causeOffsets}
	}
	if err != nil {
		return State{}, fmt.Errorf("take a shard over: %w", err)
	}
	return st, nil
}

// Release lets a shard go in good order, so that the next owner need not end our sessions. A shard
// that is not ours any more stays as it is.
func (s *Sink) Release(ctx context.Context, c *Claim) error {
	return s.exec(ctx, "release a shard", `UPDATE firstclick.offsets SET owner = NULL, instance = NULL
		WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner = $4`,
		c.Group, c.Topic, c.Partition, pgtype.UUID{Bytes: c.Owner, Valid: true})
}

// Shards returns every stored shard of the group and topic, owned or not, by partition.
func (s *Sink) Shards(ctx context.Context, group, topic string) ([]State, error) {
	return query(ctx, s, "read shards", readState, `SELECT `+stateColumns+` FROM firstclick.offsets
		WHERE group_id = $1 AND topic = $2 ORDER BY partition`, group, topic)
}

const stateColumns = `group_id, topic, partition, owner, commits, topic_id, coalesce(instance, ''), leader_epoch,
	next_offset, recent_offset, clicks_next, clicks_restore, clicks_epoch,
	watermark, final_before, expire_before, clicks_latest`

func readState(row pgx.CollectableRow) (State, error) { return scanState(row) }

// scanState reads stateColumns and the columns after them.
func scanState(row pgx.CollectableRow, more ...any) (State, error) {
	var st State
	var owner, topicID pgtype.UUID
	var watermark, finalBefore, expireBefore pgtype.Timestamptz
	var latest []pgtype.Timestamptz
	c, p := &st.Claim, &st.Position
	err := row.Scan(append([]any{
		&c.Group, &c.Topic, &c.Partition, &owner, &c.Commits, &topicID, &st.Instance, &p.LeaderEpoch,
		&p.NextOffset, &p.OpenOffset, &p.ClicksNext, &p.ClicksRestore, &p.ClicksEpoch,
		&watermark, &finalBefore, &expireBefore, &latest,
	}, more...)...)
	c.Owner, st.TopicID = owner.Bytes, topicID.Bytes
	p.Watermark, p.FinalBefore, p.ExpireBefore = micros(watermark), micros(finalBefore), micros(expireBefore)
	for _, t := range latest {
		p.ClicksLatest = append(p.ClicksLatest, micros(t))
	}
	return st, err
}

// positionArgs are topic_id and what follows it, in the order of moveSQL.
func positionArgs(topicID [16]byte, p *event.Position) []any {
	return []any{
		optionalUUID(topicID), p.LeaderEpoch, p.NextOffset, p.OpenOffset,
		notNull(p.ClicksNext), notNull(p.ClicksRestore), notNull(p.ClicksEpoch),
		instant(p.Watermark), instant(p.FinalBefore), instant(p.ExpireBefore), list(p.ClicksLatest, instant),
	}
}
