package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// lateRow is a late event with the topic it is about.
type lateRow struct {
	LateEvent
	which byte
}

type noted struct {
	user int32
	at   time.Time
}

// readState takes the snapshot: how far the group is, the row, and what is noted under the checkout_id.
func (x *explainer) readState(ctx context.Context) error {
	conn, tx, err := begin(ctx, x.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, step := range []func(context.Context, pgx.Tx) error{
		x.readProgress, x.readStanding, x.readPositions, x.readColumns, x.readRow, x.readNoted,
	} {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

func (x *explainer) readStanding(ctx context.Context, tx pgx.Tx) error {
	s := &x.at
	s.lateness, s.outOfOrder = orDefault(x.cfg.Lateness, 15*time.Minute), orDefault(x.cfg.OutOfOrder, 15*time.Second)
	var lateness, outOfOrder pgtype.Interval
	err := tx.QueryRow(ctx, `SELECT lateness, out_of_order, watermark, final_before FROM firstclick.progress WHERE group_id = $1`, x.cfg.Group).
		Scan(&lateness, &outOfOrder, &s.watermark, &s.finalBefore)
	switch {
	case err == nil:
		s.lateness, s.outOfOrder = duration(lateness), duration(outOfOrder)
	case !errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("read watermark of group %s: %w", x.cfg.Group, err)
	}
	if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&s.taken); err != nil {
		return fmt.Errorf("ask for the time of the snapshot: %w", err)
	}
	inUTC(s.watermark, s.finalBefore)
	return nil
}

func inUTC(times ...*time.Time) {
	for _, t := range times {
		if t != nil {
			*t = t.UTC()
		}
	}
}

// readRow reads the row. The commit timestamp is there to be asked for only under track_commit_timestamp
// (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-COMMIT-TIMESTAMP).
func (x *explainer) readRow(ctx context.Context, tx pgx.Tx) error {
	x.id = x.snap.columns["checkout_id"].stored(x.id)
	var name, click *string
	var own [7]*string
	var clickTime, checkoutTime pgtype.Timestamp
	err := tx.QueryRow(ctx, `
		SELECT `+shortSQL("user_name")+`, `+shortSQL("click_id")+`, click_time::timestamp, `+shortSQL("product_id")+`, `+shortSQL("payment_method")+`, total_amount::text,
		       `+shortSQL("shipping_address")+`, `+shortSQL("billing_address")+`, `+shortSQL("user_agent")+`, `+shortSQL("ip_address")+`, checkout_time::timestamp,
		       CASE WHEN current_setting('track_commit_timestamp')::bool THEN pg_xact_commit_timestamp(xmin) END
		FROM commerce.attributed_checkouts WHERE checkout_id = $1`, x.id).
		Scan(&name, &click, &clickTime, &own[0], &own[1], &own[2], &own[3], &own[4], &own[5], &own[6], &checkoutTime, &x.at.committed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the row of checkout %s: %w", quote(x.id), err)
	}
	inUTC(x.at.committed)
	x.there = true
	x.row = tableRow{id: x.id, name: maybe(name), click: maybe(click)}
	// Infinity is no time that an event can have; it stays beyond all of them.
	x.row.clickTime, x.row.clickTimed = micros(clickTime)
	x.row.time, x.row.timed = micros(checkoutTime)
	for i := range own {
		x.row.own[i] = maybe(own[i])
		x.shorten = x.shorten || own[i] != nil && len(*own[i]) > shortText
	}
	now := &RowNow{
		UserName: name, ClickID: click, ProductID: own[0], PaymentMethod: own[1], TotalAmount: own[2], ShippingAddress: own[3],
		BillingAddress: own[4], UserAgent: own[5], IPAddress: own[6],
	}
	if x.row.clickTimed {
		now.ClickTime = new(moment(x.row.clickTime))
	}
	if x.row.timed {
		now.CheckoutTime = new(moment(x.row.time))
	}
	x.out.Row = now
	return nil
}

// Texts are foreign, and there may be many of them: one that is longer than longText is held and shown by its first characters, length and
// hash. Equal texts stay equal by that, and others different.
const (
	longText  = 1 << 10 // bytes
	shortText = 200     // characters
)

func short(text string) string {
	if len(text) <= longText {
		return text
	}
	first := 0
	for range shortText {
		_, n := utf8.DecodeRuneInString(text[first:])
		first += n
	}
	return fmt.Sprintf("%s... (%d bytes, sha256 %x)", text[:first], len(text), sha256.Sum256([]byte(text)))
}

// shortSQL is short of a column, in SQL.
func shortSQL(column string) string {
	return strings.NewReplacer("$text", column+"::text", "$bytes", "convert_to("+column+"::text, 'UTF8')", "$long", strconv.Itoa(longText), "$short", strconv.Itoa(shortText)).
		Replace(`CASE WHEN octet_length($bytes) > $long THEN left($text, $short) || '... (' || octet_length($bytes) || ' bytes, sha256 ' || encode(sha256($bytes), 'hex') || ')' ELSE $text END`)
}

// short replaces what is long in a checkout's texts by what stands for it, as the columns would hold it.
func (x *explainer) short(e *event) {
	for name, text := range map[string]*optional{
		"payment_method": &e.payment, "shipping_address": &e.shipping, "billing_address": &e.billing, "user_agent": &e.agent, "ip_address": &e.ip,
	} {
		if len(text.text) > longText {
			text.text = short(x.snap.columns[name].stored(text.text))
			x.shorten = true
		}
	}
}

func maybe(text *string) optional {
	if text == nil {
		return optional{}
	}
	return some(*text)
}

func micros(t pgtype.Timestamp) (int64, bool) {
	switch {
	case !t.Valid:
		return 0, false
	case t.InfinityModifier != pgtype.Finite:
		return int64(t.InfinityModifier) * endOfTime, true
	}
	return t.Time.UnixMicro(), true
}

// endOfTime is the last microsecond of the year 9999, the latest that an event can have.
const endOfTime = 253_402_300_799_999_999

// readNoted reads what stands under the checkout_id in firstclick.late and firstclick.unknown_users.
func (x *explainer) readNoted(ctx context.Context, tx pgx.Tx) error {
	var n noted
	err := tx.QueryRow(ctx, `SELECT user_id, noted_at FROM firstclick.unknown_users WHERE checkout_id = $1 ORDER BY noted_at LIMIT 1`, x.id).Scan(&n.user, &n.at)
	switch {
	case err == nil:
		n.at = n.at.UTC()
		x.noted = &n
	case !errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("read notes about unknown users: %w", err)
	}
	return x.readLate(ctx, tx, `kind = 'checkout' AND event_id = $4`, x.id)
}

// queryer is a connection or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// readLate adds late events. The condition's parameters begin with $4.
func (x *explainer) readLate(ctx context.Context, db queryer, condition string, args ...any) error {
	rows, err := db.Query(ctx, `
		SELECT topic, topic_id, partition, "offset", kind, event_id, user_id, product_id, event_time, recorded_at, repaired_at
		FROM firstclick.late WHERE group_id = $1 AND topic IN ($2, $3) AND `+condition+`
		ORDER BY event_time, event_id, partition, "offset" LIMIT 1000`,
		append([]any{x.cfg.Group, x.snap.clicksTopic, x.snap.checkoutsTopic}, args...)...)
	if err != nil {
		return fmt.Errorf("read late events: %w", err)
	}
	var l LateEvent
	var id pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&l.Topic, &id, &l.Partition, &l.Offset, &l.Kind, &l.EventID, &l.UserID, &l.ProductID, &l.Time, &l.RecordedAt, &l.RepairedAt}, func() error {
		row := lateRow{LateEvent: l, which: topicClicks}
		if l.Topic == x.snap.checkoutsTopic {
			row.which = topicCheckouts
		}
		inUTC(&row.Time, &row.RecordedAt, row.RepairedAt)
		l.RepairedAt = nil
		if x.isCurrent(row.which, id.Bytes) {
			x.late = append(x.late, row)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read late events: %w", err)
	}
	return nil
}

// isCurrent says whether what is noted with a topic's id is about the topic as the group knows it, not one before of the same name.
func (x *explainer) isCurrent(which byte, id [16]byte) bool {
	now := x.snap.clicksID
	if which == topicCheckouts {
		now = x.snap.checkoutsID
	}
	return id == [16]byte{} || now == [16]byte{} || id == now
}
