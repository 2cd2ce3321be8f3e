package sink

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/join/event"
)

const (
	maxPayload = event.MaxRecord // larger ones are stored by size and hash only
	maxDetail  = 2000            // bytes
	// copiedLetters is how many letters pay for the round trips of a COPY.
	copiedLetters = 100
)

var letterColumns = []string{
	"group_id", "topic", "topic_id", "partition", "offset", "reason", "detail",
	"payload", "payload_size", "payload_sha256", "record_time",
}

var insertLetterSQL = `INSERT INTO firstclick.dead_letters ("` + strings.Join(letterColumns, `", "`) + `")
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`

// letterValues are in the order of letterColumns.
func letterValues(group string, d *DeadLetter, clean func(string) string) []any {
	size, hash := d.Size, d.Sum[:]
	switch {
	case d.Unread:
		size, hash = 0, nil
	case size == 0:
		sum := sha256.Sum256(d.Payload)
		size, hash = int64(len(d.Payload)), sum[:]
	}
	return []any{
		group, d.Topic, pgtype.UUID{Bytes: d.TopicID, Valid: true}, d.Partition, d.Offset,
		string(d.Reason), clean(d.Detail), d.Payload, size, hash, instant(d.RecordTime),
	}
}

// copyLetters copies the dead letters that are new, if they are many: a flood of bad records costs
// no more than rows. Letters that another transaction may have written as well (another shard's,
// another instance's) are left to finish, and so are all if the COPY fails on one of those.
func (a *attempt) copyLetters(ctx context.Context) error {
	a.letters = slices.Concat(a.set.dead, a.result.letters)
	sortLetters(a.letters)
	again := slices.DeleteFunc(slices.Clone(a.letters), func(d *DeadLetter) bool { return !d.Again })
	fresh := slices.DeleteFunc(slices.Clone(a.letters), func(d *DeadLetter) bool { return d.Again })
	a.result.newLetters = int64(len(fresh))
	if len(fresh) < copiedLetters || a.set.savepoints || a.sink.letterDuplicates.frequent() {
		return nil
	}
	if err := a.exec(ctx, "SAVEPOINT letters"); err != nil {
		return fmt.Errorf("copy dead letters: %w", err)
	}
	copied, err := a.conn.CopyFrom(ctx, pgx.Identifier{"firstclick", "dead_letters"}, letterColumns,
		pgx.CopyFromSlice(len(fresh), func(i int) ([]any, error) {
			return letterValues(a.set.group, fresh[i], clean), nil
		}))
	if sqlState(err) == uniqueViolation {
		return a.exec(ctx, "ROLLBACK TO SAVEPOINT letters")
	}
	if err != nil {
		return fmt.Errorf("copy dead letters: %w", err)
	}
	a.result.DeadLetters += copied
	a.letters = again
	return nil
}

// Rejected returns the offsets in [from, to) of a shard's checkouts that became dead letters
// because their row conflicts with another one or was refused. No click may be given to the row
// that has their checkout_id.
func (s *Sink) Rejected(ctx context.Context, c *Claim, topicID [16]byte, from, to int64) (map[int64]bool, error) {
	const rejectedSQL = `SELECT "offset" FROM firstclick.dead_letters
		WHERE group_id = $1 AND topic = $2 AND topic_id = $3 AND partition = $4
			AND "offset" >= $5 AND "offset" < $6 AND reason = ANY ($7)`
	reasons := []string{string(event.ReasonConflict), string(event.ReasonRefused)}
	found, err := query(ctx, s, "read which checkouts were rejected", pgx.RowTo[int64],
		rejectedSQL, c.Group, c.Topic, topicID, c.Partition, from, to, reasons)
	offsets := make(map[int64]bool, len(found))
	for _, o := range found {
		offsets[o] = true
	}
	return offsets, err
}

// forgetSQL looks at some letters in the order in which they were written, and deletes those of the
// group that are old: a short transaction that locks little, and an index that is there.
const forgetSQL = `WITH looked AS MATERIALIZED (
		SELECT id, created_at < now() - $3::interval AS old, group_id
		FROM firstclick.dead_letters WHERE id > $1 ORDER BY id LIMIT 1000),
	gone AS (
		DELETE FROM firstclick.dead_letters d USING looked l
		WHERE d.id = l.id AND l.old AND l.group_id = $2 RETURNING 1)
	SELECT coalesce(max(id), 0), coalesce(bool_or(old), false), (SELECT count(*) FROM gone) FROM looked`

// ForgetLetters deletes the dead letters of a group that are older than age, whatever has become of
// them, and says how many they were. It ends at the first thousand in a row of which none is old,
// of any group.
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
