package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/internal/pgsession"
)

const (
	repairAttempts = 5
	repairBatch    = 1000
)

// apply writes the fixes and marks the late events in one transaction. It tries again where the
// pipeline locked what it changes in another order.
func (v *verifyRun) apply(ctx context.Context, out *RepairReport) error {
	conn, err := connect(ctx, v.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for attempt := 1; ; attempt++ {
		v.progress.phase("rows repaired", v.fixes.count)
		done := *out
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, pgsession.TheirPathSQL); err != nil { // triggers of the table run
				return err
			}
			if err := v.applyFixes(ctx, tx, &done); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, pgsession.OurPathSQL); err != nil {
				return err
			}
			if err := v.markRepaired(ctx, tx, &done); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, pgsession.TheirPathSQL) // triggers may run at COMMIT
			return err
		})
		if err == nil {
			*out = done
			return nil
		}
		var answer *pgconn.PgError
		if attempt == repairAttempts || !errors.As(err, &answer) || (answer.Code != "40P01" && answer.Code != "40001") {
			return fmt.Errorf("repair: %w", err)
		}
		v.log.Info("repair again: the pipeline was in the way", "error", err)
	}
}

func (v *verifyRun) applyFixes(ctx context.Context, tx pgx.Tx, out *RepairReport) error {
	var batch []item
	for x, err := range v.fixes.items() {
		if err != nil {
			return err
		}
		if batch = append(batch, *x); len(batch) == repairBatch {
			if err := v.applyByHalves(ctx, tx, batch, out); err != nil {
				return err
			}
			batch = batch[:0]
		}
		v.progress.add(1)
	}
	return v.applyByHalves(ctx, tx, batch, out)
}

// applyByHalves writes fixes. Where Postgres refuses one (a constraint, a trigger) its row keeps
// the click it has, and the others are written all the same.
func (v *verifyRun) applyByHalves(ctx context.Context, tx pgx.Tx, batch []item, out *RepairReport) error {
	if len(batch) == 0 {
		return nil
	}
	done := *out
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		if err := v.applyBatch(ctx, savepoint, batch, &done); err != nil {
			return err
		}
		_, err := savepoint.Exec(ctx,
			"SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err == nil {
		*out = done
		return nil
	}
	answer := aboutRow(err)
	if answer == nil {
		return err
	}
	if half := len(batch) / 2; half > 0 {
		if err := v.applyByHalves(ctx, tx, batch[:half], out); err != nil {
			return err
		}
		return v.applyByHalves(ctx, tx, batch[half:], out)
	}
	x, log := batch[0], v.logs[topicCheckouts]
	// The dead letter that the pipeline writes of such a click.
	_, err = tx.Exec(ctx, `
		INSERT INTO firstclick.dead_letters
			(group_id, topic, topic_id, partition, "offset", reason, detail, payload_size)
		VALUES ($1, $2, coalesce(nullif($3, ''), repeat('0', 32))::uuid, $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING`,
		v.cfg.Group, log.name, log.id, x.partition, x.offset, reasonRefusedClick,
		fmt.Sprintf("click %s: SQLSTATE %s: %s", x.clicks[0], answer.Code, answer.Message))
	if err != nil {
		return fmt.Errorf("note a refused click: %w", err)
	}
	if x.clicks = x.clicks[1:]; len(x.clicks) == 0 {
		out.Refused++
		return nil
	}
	return v.applyByHalves(ctx, tx, []item{x}, out)
}

func (v *verifyRun) applyBatch(ctx context.Context, tx pgx.Tx, batch []item, out *RepairReport) error {
	var ids, clicks []string
	var times []time.Time
	var had []*string
	var hadTimes []*time.Time
	byID := make(map[string]item, len(batch))
	for _, x := range batch {
		to := x.clicks[0]
		ids, clicks, times = append(ids, x.id), append(clicks, to.id), append(times, moment(to.time))
		var id *string
		var at *time.Time
		if x.click.ok() {
			id, at = &x.click.id, new(moment(x.click.time))
		}
		had, hadTimes = append(had, id), append(hadTimes, at)
		byID[x.id] = x
	}
	// A row as it was judged moves by the clicks' own times, whatever the column holds of them; one
	// that has moved since, by what the column holds.
	var id string
	moved := int64(0)
	err := each(ctx, tx, "write repaired rows", []any{&id}, func() error {
		moved++
		if x := byID[id]; len(out.Examples) < v.cfg.Examples {
			out.Examples = append(out.Examples, Example{
				Kind: KindMoved, CheckoutID: id, Expected: x.clicks[0].String(), Actual: x.click.String() + " before",
				Partition: -1, Offset: -1,
			})
		}
		return nil
	}, `
		UPDATE commerce.attributed_checkouts AS r SET click_id = n.click_id, click_time = n.click_time
		FROM unnest($1::text[], $2::text[], $3::timestamp[], $4::text[], $5::timestamp[])
		  AS n (checkout_id, click_id, click_time, had, had_time)
		WHERE r.checkout_id OPERATOR(pg_catalog.=) n.checkout_id
		  AND (r.click_id IS NULL OR (r.click_id, r.click_time) OPERATOR(pg_catalog.=) (n.had, n.had_time)
		       OR (n.click_time, n.click_id COLLATE "C") OPERATOR(pg_catalog.<) (r.click_time, r.click_id COLLATE "C"))
		RETURNING n.checkout_id`, ids, clicks, times, had, hadTimes)
	out.Moved += moved
	out.Kept += int64(len(batch)) - moved
	return err
}
