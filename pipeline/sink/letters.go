package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/join/event"
)

const (
	maxPayload = event.MaxRecord // larger ones are stored by size and hash only
	maxDetail  = 2000            // bytes
	// lettersPerStatement and lettersBytes bound one statement, so that no message grows near
	// Postgres' limit of 1 GB.
	lettersPerStatement = 1000
	lettersBytes        = 16 << 20
	// copiedLetters is how many letters pay for the round trip of a COPY.
	copiedLetters = 100
)

const (
	letterColumns = `(group_id, topic, topic_id, partition, "offset", reason, detail,
		payload, payload_size, payload_sha256, record_time)`

	copyLettersSQL = `SAVEPOINT letters;
		COPY firstclick.dead_letters ` + letterColumns + ` FROM STDIN (FORMAT binary)`
	insertLettersSQL = `INSERT INTO firstclick.dead_letters ` + letterColumns + `
		SELECT $1::text, * FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::text[], $7::text[],
			$8::bytea[], $9::bigint[], $10::bytea[], $11::timestamptz[])
		ON CONFLICT DO NOTHING`
)

// copyLetters copies the dead letters that are new, if they are many: a flood of bad records costs
// no more than rows. Letters that another transaction may have written as well (another shard's,
// another instance's) are left to finish, and so are all if the COPY fails on one of those.
func (a *attempt) copyLetters(ctx context.Context) error {
	a.letters = slices.Concat(a.set.dead, a.result.letters)
	sortLetters(a.letters)
	var fresh, again []*DeadLetter
	for _, d := range a.letters {
		if d.Again {
			again = append(again, d)
		} else {
			fresh = append(fresh, d)
		}
	}
	a.result.newLetters = int64(len(fresh))
	if len(fresh) < copiedLetters || a.set.savepoints || a.sink.letterDuplicates.frequent() {
		return nil
	}
	for len(fresh) > 0 {
		n := lettersInStatement(fresh, len(fresh))
		data := appendLetters(nil, a.set.group, fresh[:n])
		tag, err := a.conn.PgConn().CopyFrom(ctx, bytes.NewReader(data), copyLettersSQL)
		if isUniqueViolation(err) {
			if err := a.exec(ctx, "ROLLBACK TO SAVEPOINT letters"); err != nil {
				return fmt.Errorf("go back to before the dead letters: %w", err)
			}
			break
		}
		if err != nil {
			return fmt.Errorf("copy dead letters: %w", err)
		}
		a.result.DeadLetters += tag.RowsAffected()
		fresh = fresh[n:]
	}
	a.letters = append(again, fresh...)
	sortLetters(a.letters)
	return nil
}

// lettersInStatement is how many go into one statement, at least one and at most so many.
func lettersInStatement(dead []*DeadLetter, most int) int {
	size := 0
	for i, d := range dead {
		size += len(d.Payload)
		if i == most || i > 0 && size > lettersBytes {
			return i
		}
	}
	return len(dead)
}

// appendLetters appends binary COPY data, in the order of letterColumns.
func appendLetters(dst []byte, group string, dead []*DeadLetter) []byte {
	dst = append(dst, copyHeader...)
	for _, d := range dead {
		dst = append(dst, 0, 11)
		dst = appendBytes(dst, []byte(group))
		dst = appendBytes(dst, []byte(d.Topic))
		dst = appendBytes(dst, d.TopicID[:])
		dst = binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), uint32(d.Partition))
		dst = binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(d.Offset))
		dst = appendBytes(dst, []byte(d.Reason))
		dst = appendBytes(dst, []byte(clean(d.Detail)))
		if d.Payload == nil {
			dst = appendNull(dst)
		} else {
			dst = appendBytes(dst, d.Payload)
		}
		size, sum := sizeAndHash(d)
		dst = binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(size))
		dst = appendBytes(dst, sum)
		if d.RecordTime == event.NoTime {
			dst = appendNull(dst)
		} else {
			dst = appendTimestamp(dst, max(d.RecordTime, earliest))
		}
	}
	return append(dst, 0xff, 0xff)
}

// letterArgs are the arguments of insertLettersSQL.
func letterArgs(group string, dead []*DeadLetter, clean func(string) string) []any {
	sizes, hashes := make([]int64, len(dead)), make([][]byte, len(dead))
	for i, d := range dead {
		sizes[i], hashes[i] = sizeAndHash(d)
	}
	return []any{
		group,
		list(dead, func(d *DeadLetter) string { return d.Topic }),
		list(dead, func(d *DeadLetter) pgtype.UUID { return pgtype.UUID{Bytes: d.TopicID, Valid: true} }),
		list(dead, func(d *DeadLetter) int32 { return d.Partition }),
		list(dead, func(d *DeadLetter) int64 { return d.Offset }),
		list(dead, func(d *DeadLetter) string { return string(d.Reason) }),
		list(dead, func(d *DeadLetter) string { return clean(d.Detail) }),
		list(dead, func(d *DeadLetter) []byte { return d.Payload }),
		sizes, hashes,
		list(dead, func(d *DeadLetter) pgtype.Timestamptz { return instant(d.RecordTime) }),
	}
}

// sizeAndHash are those of the record's value; 0 and nil if it is not at hand.
func sizeAndHash(d *DeadLetter) (size int64, hash []byte) {
	if d.Unread {
		return 0, nil
	}
	if d.Size > 0 {
		return d.Size, d.Sum[:]
	}
	sum := sha256.Sum256(d.Payload)
	return int64(len(d.Payload)), sum[:]
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
