package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	lettersShown  = 50    // at most, of those found by their payload
	letterTimeout = "10s" // for looking through payloads: no index helps there
	queryCanceled = "57014"
)

const letterColumns = `id, topic, topic_id, partition, "offset", reason, left(detail, 1000), status, record_time, created_at`

// readLetters finds the dead letters whose payload holds the checkout_id: a checkout that could not be decoded, say.
func (x *explainer) readLetters(ctx context.Context) error {
	conn, err := pgsession.Connect(ctx, x.cfg.Database, application)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `SET statement_timeout = '`+letterTimeout+`'`); err != nil {
		return fmt.Errorf("bound the search for dead letters: %w", err)
	}
	escaped, err := json.Marshal(x.id)
	if err != nil {
		return fmt.Errorf("write the checkout_id as JSON: %w", err)
	}
	rows, err := conn.Query(ctx, `
		SELECT `+letterColumns+`, payload FROM firstclick.dead_letters
		WHERE group_id = $1 AND topic = $2 AND (position($3::bytea IN payload) > 0 OR position($4::bytea IN payload) > 0)
		ORDER BY id LIMIT $5`, x.cfg.Group, x.snap.checkoutsTopic, []byte(x.id), escaped[1:len(escaped)-1], lettersShown)
	if err == nil {
		err = x.takeLetters(rows, true)
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == queryCanceled && ctx.Err() == nil {
		x.note("dead letters were not looked through for this checkout_id: that took longer than %s", letterTimeout)
		return nil
	}
	return err
}

// readLettersOfRecords finds the dead letters of the checkout's records, and says so with each.
func (x *explainer) readLettersOfRecords(ctx context.Context) error {
	places := make([]spot, len(x.records))
	for i, k := range x.records {
		places[i] = spot{topicCheckouts, k.partition, k.offset}
	}
	if err := x.readLettersAt(ctx, x.snap.checkoutsTopic, places); err != nil {
		return err
	}
	for i := range x.records {
		k := &x.records[i]
		if d, ok := x.dead[places[i]]; ok {
			if d.Reason == reasonRefusedClick { // its row stands
				k.flags |= flagRefusedClick
				continue
			}
			k.dead, k.status = d.Reason, d.Status
			if k.reason == reasonFuture && d.Status == "retried" {
				k.reason = "" // the event is sound, and somebody let it in
			}
		}
	}
	return nil
}

func (x *explainer) readLettersAt(ctx context.Context, topic string, places []spot) error {
	if len(places) == 0 {
		return nil
	}
	conn, err := pgsession.Connect(ctx, x.cfg.Database, application)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	partitions, offsets := make([]int32, len(places)), make([]int64, len(places))
	for i, p := range places {
		partitions[i], offsets[i] = p.partition, p.offset
	}
	rows, err := conn.Query(ctx, `
		SELECT `+letterColumns+` FROM firstclick.dead_letters
		WHERE group_id = $1 AND topic = $2 AND (partition, "offset") IN (SELECT * FROM unnest($3::int[], $4::bigint[]))`,
		x.cfg.Group, topic, partitions, offsets)
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	return x.takeLetters(rows, false)
}

// takeLetters keeps dead letters by their place. Those found by a payload that turns out to be another checkout's are left out.
func (x *explainer) takeLetters(rows pgx.Rows, byPayload bool) error {
	var d DeadLetter
	var payload []byte
	var id pgtype.UUID
	into := []any{&d.ID, &d.Topic, &id, &d.Partition, &d.Offset, &d.Reason, &d.Detail, &d.Status, &d.RecordTime, &d.CreatedAt}
	if byPayload {
		into = append(into, &payload)
	}
	_, err := pgx.ForEachRow(rows, into, func() error {
		which := byte(topicClicks)
		if d.Topic == x.snap.checkoutsTopic {
			which = topicCheckouts
		}
		if !x.isCurrent(which, id.Bytes) || byPayload && !x.mayBeOurs(payload) {
			return nil
		}
		inUTC(&d.CreatedAt, d.RecordTime)
		x.dead[spot{which, d.Partition, d.Offset}] = d
		d.RecordTime, payload = nil, nil
		return nil
	})
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	return nil
}

// mayBeOurs says whether a payload that holds the checkout_id somewhere has it as its checkout_id. One that is no JSON may.
func (x *explainer) mayBeOurs(payload []byte) bool {
	members, reason := decodeObject(payload)
	if reason != "" {
		return true
	}
	return x.isID(members["checkout_id"])
}

// mayHold is a quick look before a record is decoded: a JSON string that is equal to the text holds its bytes, unless it is
// written with escapes.
func mayHold(value, text []byte) bool {
	return bytes.Contains(value, text) || bytes.IndexByte(value, '\\') >= 0
}
