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

// RepairReport is what Repair did.
type RepairReport struct {
	Late     int64         `json:"late"`     // events recorded late and not yet repaired, when it began
	Repaired int64         `json:"repaired"` // of them marked as repaired now
	Left     int64         `json:"left"`     // checkouts recorded late that Kafka no longer holds: nothing to recompute them from
	Unread   int64         `json:"unread"`   // late clicks that some shard has not read yet: what they mean for its rows is not known, so they stay open
	Ahead    int64         `json:"ahead"`    // events noted without being late, most of them dated far ahead of the clock, whose rows are not final yet: they stay open
	Moved    int64         `json:"moved"`    // rows that moved to an earlier click
	Kept     int64         `json:"kept"`     // rows found wanting that somebody else moved meanwhile
	Refused  int64         `json:"refused"`  // rows that keep their click because Postgres refuses the earlier one: a dead letter says why
	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// Repair recomputes the rows that firstclick.late could have changed, and moves those that have an
// earlier click: what Verify finds "explained". A row only ever moves to an earlier click, in the one
// transaction that marks the late events as repaired. So running it again, or while the pipeline runs,
// is harmless.
func Repair(ctx context.Context, cfg Config) (*RepairReport, error) {
	v := &verifyRun{run: newRun(cfg, false)}
	out := &RepairReport{}
	return out, v.onDisk(func() error { return v.repair(ctx, out) })
}

func (v *verifyRun) repair(ctx context.Context, out *RepairReport) error {
	begun := time.Now()
	v.fixes = v.sorter("fixes", byID) // as the pipeline writes, for the locks' sake
	if err := v.readPostgres(ctx); err != nil {
		return err
	}
	if out.Late = v.snap.late; out.Late > 0 {
		if err := v.examine(ctx); err != nil {
			return err
		}
		if err := v.applyRetrying(ctx, out); err != nil {
			return err
		}
		out.Notes = v.report.Notes
	}
	out.Elapsed = time.Since(begun)
	return nil
}

// addFix keeps that Repair moves the row to a click or, where Postgres refuses that, to the next better one.
func (v *verifyRun) addFix(f *finding, to click) error {
	if v.fixes == nil {
		return nil
	}
	x := item{kind: kindFix, partition: f.k.partition, offset: f.k.offset, event: event{id: f.k.id}, click: f.k.click, clicks: []click{to}}
	for _, c := range f.better {
		if c.click().compare(to) > 0 {
			x.clicks = append(x.clicks, c.click())
		}
	}
	return v.fixes.add(&x)
}

const (
	repairAttempts = 5
	repairBatch    = 1000
)

// applyRetrying applies the fixes. The pipeline may lock what it changes in another order.
func (v *verifyRun) applyRetrying(ctx context.Context, out *RepairReport) error {
	for attempt := 1; ; attempt++ {
		done := *out
		err := v.apply(ctx, &done)
		if err == nil {
			*out = done
			return nil
		}
		var answer *pgconn.PgError
		if attempt == repairAttempts || !errors.As(err, &answer) || (answer.Code != "40P01" && answer.Code != "40001") {
			return err
		}
		v.log.Info("repair again: the pipeline was in the way", "error", err)
	}
}

// apply writes the fixes and marks the late events in one transaction.
func (v *verifyRun) apply(ctx context.Context, out *RepairReport) error {
	v.progress.phase("rows repaired", v.fixes.count)
	conn, err := connect(ctx, v.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin repair: %w", err)
	}
	for _, step := range []struct {
		path string
		do   func(context.Context, pgx.Tx, *RepairReport) error
	}{
		{pgsession.TheirPathSQL, v.applyFixes}, // triggers of the table run
		{pgsession.OurPathSQL, v.markRepaired},
		{pgsession.TheirPathSQL, nil}, // and may run at COMMIT
	} {
		if _, err := tx.Exec(ctx, step.path); err != nil {
			return fmt.Errorf("repair: set search_path: %w", err)
		}
		if step.do == nil {
			continue
		}
		if err := step.do(ctx, tx, out); err != nil {
			return err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit repair: %w", err)
	}
	return nil
}

func (v *verifyRun) applyFixes(ctx context.Context, tx pgx.Tx, out *RepairReport) error {
	var batch []item
	flush := func() error {
		v.progress.add(int64(len(batch)))
		err := v.applyByHalves(ctx, tx, batch, out)
		batch = batch[:0]
		return err
	}
	for x, err := range v.fixes.items() {
		if err != nil {
			return err
		}
		if batch = append(batch, *x); len(batch) == repairBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// applyByHalves writes fixes. Where Postgres refuses one (a constraint, a trigger) its row keeps the
// click it has, and the others are written all the same.
func (v *verifyRun) applyByHalves(ctx context.Context, tx pgx.Tx, batch []item, out *RepairReport) error {
	if len(batch) == 0 {
		return nil
	}
	nested, err := tx.Begin(ctx) // a savepoint
	if err != nil {
		return fmt.Errorf("write repaired rows: %w", err)
	}
	done := *out
	err = v.applyBatch(ctx, nested, batch, &done)
	if err == nil {
		_, err = nested.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", pgx.QueryExecModeSimpleProtocol)
	}
	if err == nil {
		*out = done
		return nested.Commit(ctx)
	}
	answer := aboutRow(err)
	if answer == nil {
		return err
	}
	if back := nested.Rollback(ctx); back != nil {
		return errors.Join(fmt.Errorf("write repaired rows: %w", back), err)
	}
	if half := len(batch) / 2; half > 0 {
		if err := v.applyByHalves(ctx, tx, batch[:half], out); err != nil {
			return err
		}
		return v.applyByHalves(ctx, tx, batch[half:], out)
	}
	x := batch[0]
	// The dead letter that the pipeline writes of such a click.
	_, err = tx.Exec(ctx, `INSERT INTO firstclick.dead_letters (group_id, topic, topic_id, partition, "offset", reason, detail, payload_size)
		VALUES ($1, $2, coalesce(nullif($3, ''), repeat('0', 32))::uuid, $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING`,
		v.cfg.Group, v.logs[topicCheckouts].name, v.logs[topicCheckouts].id, x.partition, x.offset, reasonRefusedClick,
		fmt.Sprintf("click %s: SQLSTATE %s: %s", x.clicks[0], answer.Code, answer.Message))
	if err != nil {
		return fmt.Errorf("note a refused click: %w", err)
	}
	if len(x.clicks) == 1 {
		out.Refused++
		return nil
	}
	x.clicks = x.clicks[1:]
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
	// A row as it was judged moves by the clicks' own times, whatever the column holds of them; one that
	// has moved since, by what the column holds.
	var id string
	moved := int64(0)
	err := each(ctx, tx, "write repaired rows", []any{&id}, func() error {
		moved++
		if x := byID[id]; len(out.Examples) < v.cfg.Examples {
			out.Examples = append(out.Examples, Example{
				Kind: KindMoved, CheckoutID: id, Expected: x.clicks[0].String(), Actual: x.click.String() + " before", Partition: -1, Offset: -1,
			})
		}
		return nil
	}, `
		UPDATE commerce.attributed_checkouts AS r SET click_id = n.click_id, click_time = n.click_time
		FROM unnest($1::text[], $2::text[], $3::timestamp[], $4::text[], $5::timestamp[]) AS n (checkout_id, click_id, click_time, had, had_time)
		WHERE r.checkout_id OPERATOR(pg_catalog.=) n.checkout_id
		  AND (r.click_id IS NULL OR (r.click_id, r.click_time) OPERATOR(pg_catalog.=) (n.had, n.had_time)
		       OR (n.click_time, n.click_id COLLATE "C") OPERATOR(pg_catalog.<) (r.click_time, r.click_id COLLATE "C"))
		RETURNING n.checkout_id`, ids, clicks, times, had, hadTimes)
	out.Moved += moved
	out.Kept += int64(len(batch)) - moved
	return err
}

// markRepaired marks the late events of the snapshot, except checkouts that Kafka no longer holds and
// clicks that some shard had not read: that shard may yet find the click too late for a row of its
// own, and that row was not judged here.
//
// Invariant: a note is closed when no row that it concerns can be wrong without another note. So that
// of an event that was not late stays open until all that the event concerns is final. Such an event
// was dated far ahead of a clock: no restart reads such a click again, nothing corrects such a checkout.
func (v *verifyRun) markRepaired(ctx context.Context, tx pgx.Tx, out *RepairReport) error {
	var topics, ids []string
	var partitions []int32
	var offsets []int64
	flush := func() error {
		if len(topics) == 0 {
			return nil
		}
		tag, err := tx.Exec(ctx, `
			UPDATE firstclick.late AS l SET repaired_at = now()
			FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[]) AS n (topic, topic_id, partition, "offset")
			WHERE l.group_id = $1 AND l.topic = n.topic AND l.topic_id = coalesce(nullif(n.topic_id, ''), repeat('0', 32))::uuid
			  AND l.partition = n.partition AND l."offset" = n."offset" AND l.repaired_at IS NULL`,
			v.cfg.Group, topics, ids, partitions, offsets)
		if err != nil {
			return fmt.Errorf("mark late events as repaired: %w", err)
		}
		out.Repaired += tag.RowsAffected()
		topics, ids, partitions, offsets = topics[:0], ids[:0], partitions[:0], offsets[:0]
		return nil
	}
	for n, err := range v.notes.items() {
		if err != nil {
			return err
		}
		log := v.logs[n.topic]
		switch {
		case n.kind != kindLate:
			continue
		case n.flags&(flagEarly|flagAhead) != 0 && !v.snap.finalAt(n.time+v.snap.window.Microseconds()):
			out.Ahead++ // not late: its rows may still come, and move
			continue
		case n.topic == topicCheckouts && !log.holds(n):
			out.Left++
			continue
		case n.topic == topicClicks && !v.snap.readByAll(n.partition, n.offset):
			out.Unread++
			continue
		}
		topics, ids = append(topics, log.name), append(ids, n.values[2].text)
		partitions, offsets = append(partitions, n.partition), append(offsets, n.offset)
		if len(topics) == repairBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// holds says whether Kafka may still hold the record of a note.
func (t topicLog) holds(n *item) bool {
	if id := n.values[2].text; id != "" && id != t.id {
		return false
	}
	for _, p := range t.partitions {
		if p.partition == n.partition {
			return n.offset >= p.logStart
		}
	}
	return false
}
