package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	lettersShown  = 50    // at most, of those found by their payload
	letterTimeout = "10s" // for looking through payloads: no index helps there
	queryCanceled = "57014"
)

// searchLetters finds the dead letters whose payload holds the checkout_id, such as a checkout that
// could not be decoded.
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

// readLettersOfRecords finds the dead letters of the checkout's records, and sets what they mean
// for the records.
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

// readLetters keeps dead letters by their record. payload is the SQL of the payload, by which those
// of other checkouts are left out; it may be NULL. The condition's parameters begin with $3.
func (x *explainer) readLetters(ctx context.Context, payload string, t topic, condition string, args ...any) error {
	var d DeadLetter
	var value []byte
	var id pgtype.UUID
	dest := []any{&d.ID, &d.Topic, &id, &d.Partition, &d.Offset, &d.Reason, &d.Detail, &d.Status,
		&d.RecordTime, &d.CreatedAt, &value}
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
	}, `SELECT id, topic, topic_id, partition, "offset", reason, left(detail, 1000), status,
		       record_time, created_at, `+payload+`
		FROM firstclick.dead_letters WHERE group_id = $1 AND topic = $2 AND `+condition,
		append([]any{x.cfg.Group, x.snap.topics[t].name}, args...)...)
}
