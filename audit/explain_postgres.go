package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// lateRow is an event in firstclick.late with its topic and, unless it is repaired, its flags.
type lateRow struct {
	LateEvent
	topic topic
	flags int32
}

// unknownUser is a row of firstclick.unknown_users.
type unknownUser struct {
	user int32
	at   time.Time
}

// readRow reads the row, and what stands under its checkout_id in firstclick.late and
// firstclick.unknown_users. There is a commit timestamp only under track_commit_timestamp
// (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-COMMIT-TIMESTAMP).
func (x *explainer) readRow(ctx context.Context, tx pgx.Tx) error {
	columns := x.snap.columns
	x.id = columns["checkout_id"].stored(x.id)
	const where = " WHERE checkout_id = $1"
	sql := selectRows(columns, rowsTable, true, shortSQL) + where
	err := readRows(ctx, tx, sql, []any{x.id}, func(row *item) { x.row = row })
	if err == nil && x.row != nil {
		err = tx.QueryRow(ctx, `SELECT CASE WHEN current_setting('track_commit_timestamp')::bool
			THEN pg_xact_commit_timestamp(xmin) END FROM commerce.attributed_checkouts`+where, x.id).Scan(&x.committed)
	}
	if err != nil {
		return fmt.Errorf("read the row of checkout %s: %w", quote(x.id), err)
	}
	inUTC(x.committed)
	if x.row != nil {
		for _, v := range x.row.values {
			x.shorten = x.shorten || len(v.text) > shortText
		}
		x.out.Row = rowNow(x.row)
	}
	var u unknownUser
	err = tx.QueryRow(ctx, `SELECT user_id, noted_at FROM firstclick.unknown_users
		WHERE checkout_id = $1 ORDER BY noted_at LIMIT 1`, x.id).Scan(&u.user, &u.at)
	switch {
	case err == nil:
		u.at = u.at.UTC()
		x.unknown = &u
	case !errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("read firstclick.unknown_users: %w", err)
	}
	return x.readLate(ctx, tx, `kind = 'checkout' AND event_id = $4`, x.id)
}

func rowNow(row *item) *RowNow {
	now := &RowNow{UserName: row.name.pointer()}
	if row.click.set&hasID != 0 {
		now.ClickID = &row.click.id
	}
	if row.click.set&hasTime != 0 {
		now.ClickTime = new(moment(row.click.time))
	}
	if row.flags&flagTimed != 0 {
		now.CheckoutTime = new(moment(row.time))
	}
	for i, into := range now.own() {
		*into = row.values[i].pointer()
	}
	return now
}

// isCurrent says whether what is noted with a topic's id is about the topic as the group has it,
// and not about an earlier one of the same name.
func (x *explainer) isCurrent(t topic, id [16]byte) bool {
	noted, now := topicID(id), x.snap.topics[t].id
	return noted == "" || now == "" || noted == now
}

// readLate adds late events. The condition's parameters begin with $4.
func (x *explainer) readLate(ctx context.Context, db queryer, condition string, args ...any) error {
	var l LateEvent
	var id pgtype.UUID
	dest := []any{&l.Topic, &id, &l.Partition, &l.Offset, &l.Kind, &l.EventID, &l.UserID, &l.ProductID,
		&l.Time, &l.RecordedAt, &l.RepairedAt}
	return each(ctx, db, "read late events", dest, func() error {
		row := lateRow{LateEvent: l}
		if l.Kind == "checkout" {
			row.topic = topicCheckouts
		}
		inUTC(&row.Time, &row.RecordedAt, row.RepairedAt)
		if l.RepairedAt == nil || l.RepairedAt.After(x.snap.taken) { // it need not have had its effect in the snapshot
			row.flags = x.snap.lateFlags(row.Time, row.RecordedAt)
		}
		l.RepairedAt = nil
		if x.isCurrent(row.topic, id.Bytes) {
			x.late = append(x.late, row)
		}
		return nil
	}, `SELECT topic, topic_id, partition, "offset", kind, event_id, user_id, product_id,
		       event_time, recorded_at, repaired_at
		FROM firstclick.late WHERE group_id = $1 AND topic IN ($2, $3) AND `+condition+`
		ORDER BY event_time, event_id, partition, "offset" LIMIT 1000`,
		append([]any{x.cfg.Group, x.snap.topics[topicClicks].name, x.snap.topics[topicCheckouts].name}, args...)...)
}

// Texts are foreign, and there may be many of them: one that is longer than longText is held and
// shown by its first characters, length and hash. Equal texts stay equal by that, and others
// different.
const (
	longText  = 1 << 10 // bytes
	shortText = 200     // characters
)

func short(text string) string {
	if len(text) <= longText {
		return text
	}
	hash := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%s... (%d bytes, sha256 %x)", firstRunes(text, shortText), len(text), hash)
}

// shortSQL is short of a column, in SQL.
func shortSQL(column string) string {
	return strings.NewReplacer("$text", column+"::text", "$bytes", "convert_to("+column+"::text, 'UTF8')",
		"$long", strconv.Itoa(longText), "$short", strconv.Itoa(shortText)).
		Replace(`CASE WHEN octet_length($bytes) > $long THEN left($text, $short) || '... (' || octet_length($bytes) ||
			' bytes, sha256 ' || encode(sha256($bytes), 'hex') || ')' ELSE $text END`)
}

// shortenValues replaces what is long in a checkout's texts by what stands for it, as the columns
// would hold it.
func (x *explainer) shortenValues(values []optional) {
	for i := range values {
		if v := &values[i]; len(v.text) > longText {
			v.text = short(x.snap.columns[ownColumns[i].name].stored(v.text))
			x.shorten = true
		}
	}
}
