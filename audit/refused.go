package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A dead letter with reason refused says that Postgres did not accept the row; one with reason
// refused_click, that it did not accept the first click of a checkout in its row, nor others after
// it. Postgres is asked whether that can be: the row, with the click that it would have had, goes
// into an empty temporary table of the same columns and checks, and is rolled back. Where the table
// has more that may refuse a row (triggers, other keys), that the temporary table accepts it proves
// nothing.

// tryClicks keeps a row with a later click than its first, or none, for followUp. Its clicks are the
// best one, then those that the row should have: once it is final, not those that came too late.
func (v *verifyRun) tryClicks(f *finding) error {
	t := f.k
	t.kind, t.clicks = kindTrial, []click{f.best}
	fixed := false
	for _, c := range f.better {
		switch {
		case c.flags&flagLate == 0 || t.time >= v.snap.shards[t.partition].finalBefore:
			t.clicks = append(t.clicks, c.click())
		case !fixed:
			fixed = true
			if err := v.addFix(f, c.click()); err != nil {
				return err
			}
		}
	}
	return v.followUps.add(&t)
}

// followUp counts the lost clicks that rows claim to have, and tries what Postgres is said to have refused.
func (v *verifyRun) followUp(ctx context.Context) error {
	var claim item
	var t *trial
	defer func() {
		if t != nil {
			t.end(context.WithoutCancel(ctx))
		}
	}()
	for x, err := range v.followUps.items() {
		if err != nil {
			return err
		}
		if x.kind == kindClaim {
			if x.id != claim.id || x.user != claim.user || x.product != claim.product || x.time != claim.time {
				v.lost[topicClicks].claim(x.time)
			}
			claim = *x
			continue
		}
		if t == nil {
			v.progress.phase("refused rows tried")
			if t, err = beginTrial(ctx, v.cfg.Database); err != nil {
				return err
			}
		}
		if err := v.try(ctx, t, x); err != nil {
			return err
		}
		v.progress.add(1)
	}
	return nil
}

// try tries a refused checkout, or the clicks that one should have. The latter's row is wrong where
// Postgres accepts a better click, unless somebody has dropped the dead letter.
func (v *verifyRun) try(ctx context.Context, t *trial, k *item) error {
	if k.flags&flagRow == 0 {
		var best click
		if len(k.clicks) > 0 {
			best = k.clicks[0]
		}
		accepted, err := t.accepts(ctx, k, best)
		if accepted && !t.inserts {
			v.unexplained(k, "a row: Postgres takes it now (was a column changed? then retry the dead letter)", reasonRefused)
		}
		return err
	}
	var accepted click
	for _, c := range k.clicks[1:] {
		if t.inserts || t.updates {
			break
		}
		if ok, err := t.accepts(ctx, k, c); err != nil {
			return err
		} else if ok {
			accepted = c
			break
		}
	}
	v.report.Judged++
	if accepted.ok() && k.flags&flagResolved == 0 {
		v.expected.add(k.id, v.snap.columns["click_time"].storedClick(accepted))
		v.addExample(KindDifferent, k, describeAnswer(accepted.String(), k)+
			"; Postgres takes it now (was a constraint changed? then retry the dead letter)", k.click.String())
		return nil
	}
	v.expected.add(k.id, v.snap.columns["click_time"].storedClick(k.click))
	v.addExample(KindRefusedClick, k, describeAnswer(k.clicks[0].String(), k)+"; a dead letter says why it is refused", k.click.String())
	return nil
}

// trial is a transaction with a temporary table, rolled back in the end.
type trial struct {
	conn    *pgx.Conn
	tx      pgx.Tx
	inserts bool // the table may refuse what the temporary one accepts
	updates bool // likewise, when a row moves to another click
}

// refusesMoreSQL selects whether the table has what the temporary table has not: triggers that an INSERT
// fires (foreign keys among them), or an UPDATE; other rows that a unique index or an exclusion looks
// at; partitions; and the name that the row would have had.
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
			CREATE TEMPORARY TABLE firstclick_trial (LIKE commerce.attributed_checkouts INCLUDING CONSTRAINTS INCLUDING INDEXES) ON COMMIT DROP`)
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

// trialSQL inserts a row; its parameters are checkout_id, checkout_time, click_id, click_time and ownColumns.
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

// aboutRow is an answer of Postgres' that is about the row: data exceptions, integrity violations,
// limits and what triggers raise are. nil: the error is about us.
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

// endOfTime is the last microsecond of the year 9999, the latest that an event can have. Infinity is shown as this.
const endOfTime = 253_402_300_799_999_999

func moment(micros int64) time.Time {
	return time.UnixMicro(min(max(micros, -endOfTime), endOfTime)).UTC()
}
