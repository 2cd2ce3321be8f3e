package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A dead letter with reason refused says that Postgres did not take the row. Whether that can be is asked of Postgres: the row,
// with the click it would have had, goes into an empty temporary table of the same columns and checks, and is rolled back. Where the table has
// more that may refuse a row (triggers, other keys), what the temporary table takes proves nothing.

// refusedBest is the click that a refused checkout's row would have had; sorted like checkouts, by id and place.
type refusedBest struct {
	id        string
	partition int32
	offset    int64
	click     winner
}

func (d doubt) refusedBest() refusedBest {
	return refusedBest{id: d.id, partition: d.partition, offset: d.offset, click: d.best}
}

func (r refusedBest) append(b []byte) []byte {
	return r.click.append(appendInt64(appendInt32(appendText(b, r.id), r.partition), r.offset))
}

func parseRefusedBest(item []byte) (r refusedBest) {
	f := fields(item)
	r.id, r.partition, r.offset, r.click = f.text(), f.int32(), f.int64(), f.winner()
	return r
}

// askRefused keeps a refused checkout for later, unless somebody has dealt with it: then the columns may have been changed.
func (a *audit) askRefused(k checkout) error {
	if k.flags&flagResolved != 0 {
		return nil
	}
	if err := a.refusedSort.Add(k.append(nil)); err != nil {
		return err
	}
	return a.ask(k, nil, 0)
}

func (a *audit) checkRefused(ctx context.Context) error {
	if err := errors.Join(a.refusedSort.Finish(), a.refusedBests.Finish()); err != nil {
		return err
	}
	if a.refusedSort.count == 0 {
		return nil
	}
	a.progress.phase("refused checkouts tried", a.refusedSort.count)
	checkouts, err := newStream(a.refusedSort, parseCheckout)
	if err != nil {
		return err
	}
	defer checkouts.Close()
	bests, err := newStream(a.refusedBests, parseRefusedBest)
	if err != nil {
		return err
	}
	defer bests.Close()
	trial, err := beginTrial(ctx, a.cfg.Database)
	if err != nil {
		return err
	}
	defer trial.end(context.WithoutCancel(ctx))
	for checkouts.ok && bests.ok { // one of each, in the same order
		accepted, err := trial.accepts(ctx, checkouts.head, bests.head.click)
		if err != nil {
			return err
		}
		if accepted && !trial.blind {
			a.unexplained(checkouts.head, "a row: Postgres takes it now (was a column changed? then retry the dead letter)", reasonRefused)
		}
		a.progress.add(1)
		if err := errors.Join(checkouts.next(), bests.next()); err != nil {
			return err
		}
	}
	return nil
}

// trial is a transaction with a temporary table, rolled back in the end.
type trial struct {
	conn  *pgx.Conn
	tx    pgx.Tx
	blind bool // the table may refuse what the temporary one takes
	moves bool // likewise, when a row moves to another click
}

// blindSQL asks for what the temporary table has not: triggers that an INSERT fires (foreign keys
// among them), or an UPDATE, other rows that a unique index or an exclusion looks at, partitions,
// and the name that the row would have had.
const blindSQL = `SELECT c.relkind = 'p'
	OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 4 <> 0 AND tgenabled <> 'D')
	OR EXISTS (SELECT FROM pg_index i LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND NOT (i.indnkeyatts = 1 AND coalesce(a.attname = 'checkout_id', false)))
	OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = c.oid AND a.attname = 'user_name' AND (a.atttypmod > 0 OR t.typtype = 'd'))
	, EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 16 <> 0 AND tgenabled <> 'D')
	FROM pg_class c WHERE c.oid = 'commerce.attributed_checkouts'::regclass`

func beginTrial(ctx context.Context, database string) (*trial, error) {
	conn, err := pgsession.Connect(ctx, database, application)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	t := &trial{conn: conn}
	if t.tx, err = conn.Begin(ctx); err == nil {
		_, err = t.tx.Exec(ctx, `SET LOCAL TimeZone = 'UTC';
			CREATE TEMPORARY TABLE firstclick_trial (LIKE commerce.attributed_checkouts INCLUDING CONSTRAINTS INCLUDING INDEXES) ON COMMIT DROP`)
	}
	if err == nil {
		err = t.tx.QueryRow(ctx, blindSQL).Scan(&t.blind, &t.moves)
	}
	if err != nil {
		t.end(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("make a temporary table to try refused rows on: %w", err)
	}
	return t, nil
}

func (t *trial) end(ctx context.Context) {
	_ = t.conn.Close(ctx) // which rolls back; there is nothing to keep
}

// accepts says whether Postgres takes the row.
func (t *trial) accepts(ctx context.Context, k checkout, click winner) (bool, error) {
	nested, err := t.tx.Begin(ctx) // a savepoint
	if err != nil {
		return false, fmt.Errorf("try refused checkout %s: %w", k.id, err)
	}
	var clickID *string
	var clickTime *time.Time
	if click.ok {
		at := time.UnixMicro(click.time).UTC()
		clickID, clickTime = &click.id, &at
	}
	_, insertErr := nested.Exec(ctx, `
		INSERT INTO firstclick_trial (checkout_id, click_id, click_time, product_id, payment_method, total_amount, shipping_address,
		                              billing_address, user_agent, ip_address, checkout_time)
		VALUES ($1::text, $2::text, $3::timestamp, $4::text, $5::text, $6::text::numeric, $7::text, $8::text, $9::text, $10::text, $11::timestamp)`,
		k.id, clickID, clickTime, k.product, k.payment.pointer(), k.amount.pointer(), k.shipping.pointer(), k.billing.pointer(),
		k.agent.pointer(), k.ip.pointer(), time.UnixMicro(k.time).UTC())
	if err := nested.Rollback(ctx); err != nil {
		return false, errors.Join(fmt.Errorf("try refused checkout %s: %w", k.id, err), insertErr)
	}
	if insertErr == nil {
		return true, nil
	}
	var answer *pgconn.PgError
	if errors.As(insertErr, &answer) && ofRow(answer) {
		return false, nil
	}
	return false, fmt.Errorf("try refused checkout %s: %w", k.id, insertErr)
}

func (o optional) pointer() *string {
	if !o.valid {
		return nil
	}
	return &o.text
}
