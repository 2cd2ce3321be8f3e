package sink

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// forgetSQL looks at some letters in the order in which they were written, and deletes those of the group that are old: a short transaction that locks
// little, and an index that is there.
const forgetSQL = `WITH looked AS MATERIALIZED (
		SELECT id, created_at < now() - $3::interval AS old, group_id FROM firstclick.dead_letters WHERE id > $1 ORDER BY id LIMIT 1000),
	gone AS (DELETE FROM firstclick.dead_letters d USING looked l WHERE d.id = l.id AND l.old AND l.group_id = $2 RETURNING 1)
	SELECT coalesce(max(id), 0), coalesce(bool_or(old), false), (SELECT count(*) FROM gone) FROM looked`

// ForgetLetters deletes the dead letters of a group that are older than age, whatever has become of them, and says how many they were. It ends at the
// first thousand in a row of which none is old, of any group.
func (s *Sink) ForgetLetters(ctx context.Context, group string, age time.Duration) (deleted int64, err error) {
	for after, more := int64(0), true; more; {
		err := s.withConn(ctx, func(conn *pgx.Conn) error {
			var n int64
			err := conn.QueryRow(ctx, forgetSQL, after, group, age).Scan(&after, &more, &n)
			deleted += n
			return err
		})
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}
