package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	noteSQL = `INSERT INTO firstclick.unknown_users (user_id, checkout_id) SELECT * FROM unnest($1::int[], $2::text[]) ON CONFLICT DO NOTHING`
	// An event that was repaired before it came to this shard is open again: what it means for the shard's rows was not known then.
	lateSQL = `INSERT INTO firstclick.late AS l (group_id, topic, topic_id, partition, "offset", kind, event_id, user_id, product_id, event_time)
		SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::text[], $7::text[], $8::int[], $9::text[], $10::timestamptz[])
		ON CONFLICT (group_id, topic, topic_id, partition, "offset") DO UPDATE SET repaired_at = NULL WHERE l.repaired_at IS NOT NULL`
)

func conflictDetail(columns string) string {
	return "another row stands under this checkout_id; different: " + columns
}

// finish sends what is left and COMMIT: one round trip.
func (t *try) finish(ctx context.Context) error {
	var b pgx.Batch
	result := &t.out.result
	count := func(to *int64) func(pgconn.CommandTag) error {
		return func(tag pgconn.CommandTag) error {
			*to += tag.RowsAffected()
			return nil
		}
	}
	clean := clean
	if t.work.wary {
		clean = ascii
	}
	if !t.corrected {
		queueCorrections(&b, t.target, leastPerCheckout(t.corrections), func(_, moved int64) error {
			result.Corrected += moved
			return nil
		})
	}
	if len(t.out.unknown) > 0 {
		ids, texts := make([]int32, len(t.out.unknown)), make([]string, len(t.out.unknown))
		for i, e := range t.out.unknown {
			ids[i], texts[i] = e.row.User, string(ownID(e.row.Own))
		}
		b.Queue(noteSQL, ids, texts)
	}
	queueLetters(&b, t.letters, clean, count(&result.DeadLetters))
	for chunk := range slices.Chunk(t.work.late, lettersPerStatement) {
		b.Queue(lateSQL, lateArgs(chunk, clean)...).Exec(count(&result.Late))
	}
	committed := false
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return &orderError{tag.String()}
		}
		committed = true
		return nil
	})
	t.sent = true
	err := t.conn.SendBatch(ctx, &b).Close()
	if committed { // the answer is there: what happens to the session now does not matter
		return nil
	}
	if err != nil {
		return fmt.Errorf("write corrections and dead letters, and commit: %w", err)
	}
	return errors.New("commit: no answer was read")
}

// correctionsPerStatement bounds the memory of one UPDATE.
const correctionsPerStatement = 20_000

func correctionArgs(chunk []correction) []any {
	ids, clicks, times := make([]string, len(chunk)), make([]string, len(chunk)), make([]time.Time, len(chunk))
	for i, c := range chunk {
		ids[i], clicks[i], times[i] = c.Checkout.String(), c.Click.String(), time.UnixMicro(c.ClickTime).UTC()
	}
	return []any{ids, clicks, times}
}

func queueCorrections(b *pgx.Batch, to *target, all []correction, done func(moving, moved int64) error) {
	for len(all) > correctionsPerStatement {
		queueCorrections(b, to, all[:correctionsPerStatement], done)
		all = all[correctionsPerStatement:]
	}
	b.Queue(to.correct, correctionArgs(all)...).QueryRow(func(row pgx.Row) error {
		var moving, moved int64
		if err := row.Scan(&moving, &moved); err != nil {
			return err
		}
		return done(moving, moved)
	})
}

func lateArgs(chunk []late, clean func(string) string) []any {
	n := len(chunk)
	groups, topics, kinds, ids, products := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	topicIDs, partitions, offsets := make([]pgtype.UUID, n), make([]int32, n), make([]int64, n)
	users, times := make([]int32, n), make([]pgtype.Timestamptz, n)
	for i, l := range chunk {
		groups[i], topics[i], kinds[i], ids[i], products[i] = l.group, l.Topic, l.Kind, clean(l.EventID), clean(l.Product)
		topicIDs[i], partitions[i], offsets[i] = pgtype.UUID{Bytes: l.TopicID, Valid: true}, l.Partition, l.Offset
		users[i], times[i] = l.User, instant(l.Time)
	}
	return []any{groups, topics, topicIDs, partitions, offsets, kinds, ids, users, products, times}
}

// clean makes text that Postgres stores: valid UTF-8 without NUL, not endless.
func clean(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// ascii makes text that a database of any encoding stores: what is said of a record is found by its offset.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, clean(s))
}
