package sink

import (
	"context"

	"github.com/jackc/pgx/v5"

	"firstclick/join"
)

const rejectedSQL = `SELECT "offset" FROM firstclick.dead_letters
	WHERE group_id = $1 AND topic = $2 AND topic_id = $3 AND partition = $4 AND "offset" >= $5 AND "offset" < $6 AND reason = ANY ($7)`

// Rejected returns the offsets in [from, to) of a shard's checkouts that became dead letters because their row conflicts with one
// that stands or was refused: no click may be given to the row that has their checkout_id.
func (s *Sink) Rejected(ctx context.Context, c *Claim, topicID [16]byte, from, to int64) (map[int64]bool, error) {
	offsets := map[int64]bool{}
	err := s.retry(ctx, "read which checkouts were rejected", func(ctx context.Context) error {
		return s.withConn(ctx, func(conn *pgx.Conn) error {
			reasons := []string{string(join.ReasonConflict), string(join.ReasonRefused)}
			rows, err := conn.Query(ctx, rejectedSQL, c.Group, c.Topic, topicID, c.Partition, from, to, reasons)
			if err != nil {
				return err
			}
			found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			for _, o := range found {
				offsets[o] = true
			}
			return err
		})
	})
	return offsets, err
}
