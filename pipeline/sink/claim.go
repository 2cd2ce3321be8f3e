package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Claim takes a shard over, under a new owner, and returns it as it is stored; fresh is stored where there is no row of it yet (its Claim
// does not matter). Where another instance owns the shard, all sessions of that instance in this database are ended first: one that is
// frozen in mid COPY holds keys that nothing else frees.
func (s *Sink) Claim(ctx context.Context, group, topic string, partition int32, fresh State) (State, error) {
	owner := newOwner()
	var st State
	what := fmt.Sprintf("claim checkouts partition %d", partition)
	err := s.retry(ctx, what, func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			if _, err := s.describe(ctx, conn); err != nil {
				return err
			}
			key := []any{group, topic, partition}
			stored, err := s.claimFresh(ctx, conn, key, owner, fresh)
			if err != nil {
				return err
			}
			if stored.Claim.Owner == owner {
				st = stored
				return nil
			}
			if stored.Instance != "" && stored.Instance != s.application {
				if err := s.endInstance(ctx, conn, stored.Instance); err != nil {
					return err
				}
			}
			st, err = s.takeOver(ctx, conn, key, owner, stored)
			return err
		})
	})
	if err != nil {
		return State{}, err
	}
	return st, nil
}

// newOwner is a random UUID (version 4).
func newOwner() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// claimFresh stores fresh under owner where there is no row, and returns the row that stands. It looks before it inserts: an INSERT with ON
// CONFLICT waits for a transaction that is changing the row, and a frozen owner's never ends.
func (s *Sink) claimFresh(ctx context.Context, conn *pgx.Conn, key []any, owner [16]byte, fresh State) (State, error) {
	const look = `SELECT ` + stateColumns + ` FROM firstclick.offsets WHERE group_id = $1 AND topic = $2 AND partition = $3`
	for range 2 {
		rows, err := conn.Query(ctx, look, key...)
		if err != nil {
			return State{}, fmt.Errorf("read a shard: %w", err)
		}
		st, err := pgx.CollectExactlyOneRow(rows, readState)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return State{}, fmt.Errorf("read a shard: %w", err)
		}
		args := append(append([]any{}, key...), pgtype.UUID{Bytes: owner, Valid: true}, s.application)
		_, err = conn.Exec(ctx, `INSERT INTO firstclick.offsets (group_id, topic, partition, owner, instance, topic_id, leader_epoch, next_offset,
			recent_offset, clicks_next, clicks_restore, clicks_epoch, watermark, final_before, expire_before, clicks_latest)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING`,
			append(args, positionArgs(fresh.TopicID, &fresh.Position)...)...)
		if err != nil {
			return State{}, fmt.Errorf("store a new shard: %w", err)
		}
	}
	return State{}, &passingError{causeOffsets} // deleted this moment
}

// takeOver makes owner the owner, if the one seen still is. A lock that another owner's session has come to hold meanwhile is not waited
// for: it is ended by the next try.
func (s *Sink) takeOver(ctx context.Context, conn *pgx.Conn, key []any, owner [16]byte, seen State) (State, error) {
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.Queue("SET LOCAL lock_timeout = '2s'")
	args := append(append([]any{}, key...), pgtype.UUID{Bytes: owner, Valid: true}, s.application, optionalUUID(seen.Claim.Owner))
	b.Queue(`UPDATE firstclick.offsets SET owner = $4, instance = $5
		WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner IS NOT DISTINCT FROM $6 RETURNING `+stateColumns, args...)
	b.Queue("COMMIT")
	results := conn.SendBatch(ctx, &b)
	defer results.Close()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return State{}, fmt.Errorf("take a shard over: %w", err)
		}
	}
	rows, err := results.Query()
	if err != nil {
		return State{}, fmt.Errorf("take a shard over: %w", err)
	}
	st, err := pgx.CollectExactlyOneRow(rows, readState)
	if errors.Is(err, pgx.ErrNoRows) {
		return State{}, &passingError{causeOffsets}
	}
	if err != nil {
		return State{}, fmt.Errorf("take a shard over: %w", err)
	}
	if err := results.Close(); err != nil {
		return State{}, fmt.Errorf("take a shard over: %w", err)
	}
	return st, nil
}

// Release lets a shard go in good order, so that the next owner need not end our sessions. A shard that is not ours any more stays as it is.
func (s *Sink) Release(ctx context.Context, c *Claim) error {
	return s.exec(ctx, "release a shard", `UPDATE firstclick.offsets SET owner = NULL, instance = NULL
		WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner = $4`, c.Group, c.Topic, c.Partition, pgtype.UUID{Bytes: c.Owner, Valid: true})
}

// Shards returns every stored shard of the group and topic, owned or not, by partition.
func (s *Sink) Shards(ctx context.Context, group, topic string) ([]State, error) {
	var out []State
	err := s.retry(ctx, "read shards", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			rows, err := conn.Query(ctx, `SELECT `+stateColumns+` FROM firstclick.offsets
				WHERE group_id = $1 AND topic = $2 ORDER BY partition`, group, topic)
			if err != nil {
				return err
			}
			out, err = pgx.CollectRows(rows, readState)
			return err
		})
	})
	return out, err
}

// exec runs one statement that may be run twice.
func (s *Sink) exec(ctx context.Context, what, sql string, args ...any) error {
	return s.retry(ctx, what, func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, sql, args...)
			return err
		})
	})
}
