package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// trial is a transaction with a temporary table, rolled back in the end.
type trial struct {
	conn    *pgx.Conn
	tx      pgx.Tx
	inserts bool // the table may refuse what the temporary one accepts
	updates bool // likewise, when a row moves to another click
}

// refusesMoreSQL selects inserts and updates. The temporary table does not have triggers (foreign
// keys are triggers), other rows for unique indexes and exclusions, partitions, or the row's
// user_name.
const refusesMoreSQL = `SELECT c.relkind = 'p'
	OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 4 <> 0 AND tgenabled <> 'D')
	OR EXISTS (SELECT FROM pg_index i LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)
		AND NOT (i.indnkeyatts = 1 AND coalesce(a.attname = 'checkout_id', false)))
	OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = c.oid AND a.attname = 'user_name' AND (a.atttypmod > 0 OR t.typtype = 'd'))
	, EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 16 <> 0 AND tgenabled <> 'D')
	FROM pg_class c WHERE c.oid = 'commerce.attributed_checkouts'::regclass`

func beginTrial(ctx context.Context, database string) (*trial, error) {
	conn, err := connect(ctx, database)
	if err != nil {
		return nil, err
	}
	t := &trial{conn: conn}
	if t.tx, err = conn.Begin(ctx); err == nil {
		_, err = t.tx.Exec(ctx, `SET LOCAL TimeZone = 'UTC';
			CREATE TEMPORARY TABLE firstclick_trial
				(LIKE commerce.attributed_checkouts INCLUDING CONSTRAINTS INCLUDING INDEXES) ON COMMIT DROP`)
	}
	if err == nil {
		err = t.tx.QueryRow(ctx, refusesMoreSQL).Scan(&t.inserts, &t.updates)
	}
	if err != nil {
		t.end(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("make a temporary table to try refused rows on: %w", err)
	}
	return t, nil
}

func (t *trial) end(ctx context.Context) { t.conn.Close(ctx) } // which rolls back

// trialSQL inserts a row; its parameters are checkout_id, checkout_time, click_id, click_time and
// ownColumns.
var trialSQL = func() string {
	names, values := "", ""
	for i, c := range ownColumns {
		kind := "text"
		if c.amount {
			kind = "text::numeric"
		}
		names += ", " + c.name
		values += fmt.Sprintf(", $%d::%s", i+5, kind)
	}
	return `INSERT INTO firstclick_trial (checkout_id, checkout_time, click_id, click_time` + names +
		`) VALUES ($1::text, $2::timestamp, $3::text, $4::timestamp` + values + `)`
}()

// accepts says whether Postgres accepts the row.
func (t *trial) accepts(ctx context.Context, k *item, c click) (bool, error) {
	nested, err := t.tx.Begin(ctx) // a savepoint
	if err != nil {
		return false, fmt.Errorf("try refused checkout %s: %w", k.id, err)
	}
	args := []any{k.id, moment(k.time), nil, nil}
	if c.ok() {
		args[2], args[3] = c.id, moment(c.time)
	}
	for _, v := range k.values {
		args = append(args, v.pointer())
	}
	_, insertErr := nested.Exec(ctx, trialSQL, args...)
	if err := nested.Rollback(ctx); err != nil {
		return false, errors.Join(fmt.Errorf("try refused checkout %s: %w", k.id, err), insertErr)
	}
	if insertErr == nil || aboutRow(insertErr) != nil {
		return insertErr == nil, nil
	}
	return false, fmt.Errorf("try refused checkout %s: %w", k.id, insertErr)
}

// aboutRow is Postgres' answer, if it is about the row: a data exception, an integrity violation, a
// limit, or raised by a trigger. nil: the error is ours.
func aboutRow(err error) *pgconn.PgError {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return nil
	}
	for _, class := range []string{"22", "23", "54", "P0"} {
		if strings.HasPrefix(answer.Code, class) {
			return answer
		}
	}
	if answer.Routine == "exec_stmt_raise" {
		return answer
	}
	return nil
}
