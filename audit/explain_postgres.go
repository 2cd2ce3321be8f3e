package audit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/cdc"
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
	err := readRows(ctx, tx, selectRows(columns, rowsTable, true, shortSQL)+where, []any{x.id}, func(row *item) error {
		x.row = row
		return nil
	})
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
	err = tx.QueryRow(ctx, `SELECT user_id, noted_at FROM firstclick.unknown_users WHERE checkout_id = $1 ORDER BY noted_at LIMIT 1`,
		x.id).Scan(&u.user, &u.at)
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

// Texts are foreign, and there may be many of them: one that is longer than longText is held and shown
// by its first characters, length and hash. Equal texts stay equal by that, and others different.
const (
	longText  = 1 << 10 // bytes
	shortText = 200     // characters
)

func short(text string) string {
	if len(text) <= longText {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes, sha256 %x)", firstRunes(text, shortText), len(text), sha256.Sum256([]byte(text)))
}

// shortSQL is short of a column, in SQL.
func shortSQL(column string) string {
	return strings.NewReplacer("$text", column+"::text", "$bytes", "convert_to("+column+"::text, 'UTF8')",
		"$long", strconv.Itoa(longText), "$short", strconv.Itoa(shortText)).
		Replace(`CASE WHEN octet_length($bytes) > $long THEN left($text, $short) || '... (' || octet_length($bytes) ||
			' bytes, sha256 ' || encode(sha256($bytes), 'hex') || ')' ELSE $text END`)
}

// shortenValues replaces what is long in a checkout's texts by what stands for it, as the columns would hold it.
func (x *explainer) shortenValues(values []optional) {
	for i := range values {
		if v := &values[i]; len(v.text) > longText {
			v.text = short(x.snap.columns[ownColumns[i].name].stored(v.text))
			x.shorten = true
		}
	}
}

// isCurrent says whether what is noted with a topic's id is about the topic as the group has it, and not
// about an earlier one of the same name.
func (x *explainer) isCurrent(t topic, id [16]byte) bool {
	noted, now := topicID(id), x.snap.topics[t].id
	return noted == "" || now == "" || noted == now
}

func (x *explainer) topicOf(name string) topic {
	if name == x.snap.topics[topicCheckouts].name {
		return topicCheckouts
	}
	return topicClicks
}

// readLate adds late events. The condition's parameters begin with $4.
func (x *explainer) readLate(ctx context.Context, db queryer, condition string, args ...any) error {
	var l LateEvent
	var id pgtype.UUID
	dest := []any{&l.Topic, &id, &l.Partition, &l.Offset, &l.Kind, &l.EventID, &l.UserID, &l.ProductID,
		&l.Time, &l.RecordedAt, &l.RepairedAt}
	return each(ctx, db, "read late events", dest, func() error {
		row := lateRow{LateEvent: l, topic: x.topicOf(l.Topic)}
		inUTC(&row.Time, &row.RecordedAt, row.RepairedAt)
		if l.RepairedAt == nil || l.RepairedAt.After(x.snap.taken) { // it need not have had its effect in the snapshot
			row.flags = x.snap.lateFlags(row.Time, row.RecordedAt)
		}
		l.RepairedAt = nil
		if x.isCurrent(row.topic, id.Bytes) {
			x.late = append(x.late, row)
		}
		return nil
	}, `SELECT topic, topic_id, partition, "offset", kind, event_id, user_id, product_id, event_time, recorded_at, repaired_at
		FROM firstclick.late WHERE group_id = $1 AND topic IN ($2, $3) AND `+condition+`
		ORDER BY event_time, event_id, partition, "offset" LIMIT 1000`,
		append([]any{x.cfg.Group, x.snap.topics[topicClicks].name, x.snap.topics[topicCheckouts].name}, args...)...)
}

const (
	lettersShown  = 50    // at most, of those found by their payload
	letterTimeout = "10s" // for looking through payloads: no index helps there
	queryCanceled = "57014"
)

// searchLetters finds the dead letters whose payload holds the checkout_id: a checkout that could not be
// decoded, say.
func (x *explainer) searchLetters(ctx context.Context) error {
	escaped, err := json.Marshal(x.id)
	if err != nil {
		return fmt.Errorf("write the checkout_id as JSON: %w", err)
	}
	if _, err := x.conn.Exec(ctx, `SET statement_timeout = '`+letterTimeout+`'`); err != nil {
		return fmt.Errorf("bound the search for dead letters: %w", err)
	}
	err = x.readLetters(ctx, "payload", topicCheckouts,
		`(position($3::bytea IN payload) > 0 OR position($4::bytea IN payload) > 0) ORDER BY id LIMIT $5`,
		[]byte(x.id), escaped[1:len(escaped)-1], lettersShown)
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == queryCanceled && ctx.Err() == nil {
		x.note("dead letters were not looked through for this checkout_id: that took longer than %s", letterTimeout)
		err = nil
	}
	if err == nil {
		_, err = x.conn.Exec(ctx, `SET statement_timeout = 0`)
	}
	return err
}

// readLettersOfRecords finds the dead letters of the checkout's records, and tells the records of them.
func (x *explainer) readLettersOfRecords(ctx context.Context) error {
	refs := make([]recordRef, len(x.records))
	for i, k := range x.records {
		refs[i] = recordRef{topicCheckouts, k.partition, k.offset}
	}
	if err := x.readLettersAt(ctx, topicCheckouts, refs); err != nil {
		return err
	}
	for i := range x.records {
		k := &x.records[i]
		d, ok := x.dead[refs[i]]
		switch {
		case !ok:
			continue
		case d.Reason == reasonRefusedClick: // its row stands
			k.flags |= flagRefusedClick
			continue
		}
		k.dead, k.status = d.Reason, d.Status
		if k.reason == reasonFuture && d.Status == "retried" {
			k.reason = "" // the event is sound, and somebody accepted it
		}
	}
	return nil
}

func (x *explainer) readLettersAt(ctx context.Context, t topic, refs []recordRef) error {
	partitions, offsets := make([]int32, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		partitions[i], offsets[i] = ref.partition, ref.offset
	}
	return x.readLetters(ctx, "NULL::bytea", t,
		`(partition, "offset") IN (SELECT * FROM unnest($3::int[], $4::bigint[]))`, partitions, offsets)
}

// readLetters keeps dead letters by their record. payload is what to select as the payload: those whose
// payload turns out to be another checkout's are left out. The condition's parameters begin with $3.
func (x *explainer) readLetters(ctx context.Context, payload string, t topic, condition string, args ...any) error {
	var d DeadLetter
	var value []byte
	var id pgtype.UUID
	dest := []any{&d.ID, &d.Topic, &id, &d.Partition, &d.Offset, &d.Reason, &d.Detail, &d.Status, &d.RecordTime, &d.CreatedAt, &value}
	return each(ctx, x.conn, "read dead letters", dest, func() error {
		others := false
		if members, reason := decodeObject(value); value != nil && reason == "" {
			others = !x.isID(members[memberCheckoutID])
		}
		if x.isCurrent(t, id.Bytes) && !others {
			inUTC(&d.CreatedAt, d.RecordTime)
			x.dead[recordRef{t, d.Partition, d.Offset}] = d
		}
		d.RecordTime, value = nil, nil
		return nil
	}, `SELECT id, topic, topic_id, partition, "offset", reason, left(detail, 1000), status, record_time, created_at, `+payload+`
		FROM firstclick.dead_letters WHERE group_id = $1 AND topic = $2 AND `+condition,
		append([]any{x.cfg.Group, x.snap.topics[t].name}, args...)...)
}

// readUser reads what the user is called now, and the dead letters of clicks that were found.
func (x *explainer) readUser(ctx context.Context) error {
	if p := x.picked; p != nil {
		var refs []recordRef
		for _, c := range slices.Concat(p.before, p.inside, p.after) {
			if c.reason != "" {
				refs = append(refs, recordRef{topicClicks, c.partition, c.offset})
			}
		}
		if err := x.readLettersAt(ctx, topicClicks, refs); err != nil {
			return err
		}
	}
	n := &NameNow{}
	switch {
	case x.out.Join != nil:
		n.ID = new(x.out.Join.UserID)
	case x.unknown != nil:
		n.ID = new(x.unknown.user)
	case x.row == nil:
		return nil
	}
	x.out.User = n
	if x.unknown != nil {
		n.NotedAt = &x.unknown.at
	}
	if n.ID != nil {
		err := x.conn.QueryRow(ctx, `SELECT `+cdc.UsernameSQL+` FROM commerce.users WHERE id = $1`, *n.ID).Scan(&n.Name)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read user %d: %w", *n.ID, err)
		}
		n.Exists = err == nil
	}
	n.Story = x.nameStory(n)
	return nil
}
