package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/join"
)

const (
	maxPayload = join.MaxRecord // larger ones are stored by size and hash only
	maxDetail  = 2000           // bytes
	// lettersPerStatement and lettersBytes bound one statement, so that no message grows near Postgres' limit of 1 GB.
	lettersPerStatement = 1000
	lettersBytes        = 16 << 20
	// copiedLetters is how many letters pay for the round trip of a COPY.
	copiedLetters = 100
)

const (
	letterColumns = `(group_id, topic, topic_id, partition, "offset", reason, detail, payload, payload_size, payload_sha256, record_time)`
	copyDeadSQL   = `SAVEPOINT letters; COPY firstclick.dead_letters ` + letterColumns + ` FROM STDIN (FORMAT binary)`
	deadSQL       = `INSERT INTO firstclick.dead_letters ` + letterColumns + `
		SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bigint[], $10::bytea[], $11::timestamptz[])
		ON CONFLICT DO NOTHING`
)

// copyLetters copies the dead letters that are new, where they are many, so that a flood of bad records costs no more than rows. What another
// transaction may have written as well (another shard's, another instance's) is left to finish, and so are all where the COPY meets one of those.
func (t *try) copyLetters(ctx context.Context) error {
	t.letters = slices.Concat(t.work.dead, t.out.letters)
	sortDead(t.letters)
	var fresh, again []deadLetter
	for _, d := range t.letters {
		if d.Again {
			again = append(again, d)
		} else {
			fresh = append(fresh, d)
		}
	}
	t.out.newLetters = int64(len(fresh))
	if len(fresh) < copiedLetters || t.work.wary || t.sink.letters.asks() {
		return nil
	}
	for len(fresh) > 0 {
		n := chunkOfLetters(fresh, len(fresh))
		tag, err := t.conn.PgConn().CopyFrom(ctx, bytes.NewReader(appendLetters(nil, fresh[:n])), copyDeadSQL)
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.Code == uniqueViolation {
			if _, err := t.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT letters", pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("go back to before the dead letters: %w", err)
			}
			break
		}
		if err != nil {
			return fmt.Errorf("copy dead letters: %w", err)
		}
		t.out.result.DeadLetters += tag.RowsAffected()
		fresh = fresh[n:]
	}
	t.letters = append(again, fresh...)
	sortDead(t.letters)
	return nil
}

// queueLetters queues the letters that some transaction may have written.
func queueLetters(b *pgx.Batch, dead []deadLetter, clean func(string) string, count func(pgconn.CommandTag) error) {
	for len(dead) > 0 {
		n := chunkOfLetters(dead, lettersPerStatement)
		b.Queue(deadSQL, deadArgs(dead[:n], clean)...).Exec(count)
		dead = dead[n:]
	}
}

// chunkOfLetters is how many go into one statement, at least one and at most so many.
func chunkOfLetters(dead []deadLetter, most int) int {
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
func appendLetters(dst []byte, dead []deadLetter) []byte {
	dst = append(dst, copyHeader...)
	for _, d := range dead {
		dst = append(dst, 0, 11)
		dst = appendBytes(dst, []byte(d.group))
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
		size, sum := d.measure()
		dst = binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(size))
		dst = appendBytes(dst, sum)
		if d.RecordTime == join.NoTime {
			dst = appendNull(dst)
		} else {
			dst = appendTimestamp(dst, max(d.RecordTime, earliest))
		}
	}
	return append(dst, 0xff, 0xff)
}

// measure is the size and the hash of the record's value; 0 and nil where it is not at hand.
func (d *DeadLetter) measure() (size int64, sum []byte) {
	if d.Unread {
		return 0, nil
	}
	if d.Size > 0 {
		return d.Size, d.Sum[:]
	}
	hash := sha256.Sum256(d.Payload)
	return int64(len(d.Payload)), hash[:]
}

func deadArgs(dead []deadLetter, clean func(string) string) []any {
	n := len(dead)
	groups, topics, reasons, details := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	topicIDs, partitions, offsets := make([]pgtype.UUID, n), make([]int32, n), make([]int64, n)
	payloads, sizes, sums, times := make([][]byte, n), make([]int64, n), make([][]byte, n), make([]pgtype.Timestamptz, n)
	for i, d := range dead {
		groups[i], topics[i], reasons[i], details[i] = d.group, d.Topic, string(d.Reason), clean(d.Detail)
		topicIDs[i], partitions[i], offsets[i] = pgtype.UUID{Bytes: d.TopicID, Valid: true}, d.Partition, d.Offset
		size, sum := d.measure()
		payloads[i], sizes[i], sums[i], times[i] = d.Payload, size, sum, instant(d.RecordTime)
	}
	return []any{groups, topics, topicIDs, partitions, offsets, reasons, details, payloads, sizes, sums, times}
}
