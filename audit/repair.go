package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// fix is a row's click as it was and as it is to be, in its sort: by checkout_id, as the pipeline writes, for the locks' sake.
type fix struct {
	id        string
	partition int32 // of the checkout
	offset    int64
	from, to  winner
	next      []winner // where Postgres refuses that one
}

func (x fix) append(b []byte) []byte {
	b = x.to.append(x.from.append(appendInt64(appendInt32(appendText(b, x.id), x.partition), x.offset)))
	return appendWinners(b, x.next)
}

// fix moves the row of a doubt.
func (d doubt) fix(to winner) fix {
	x := fix{id: d.id, partition: d.partition, offset: d.offset, from: d.click, to: to}
	for _, c := range d.better {
		if c.winner().compare(to) > 0 {
			x.next = append(x.next, c.winner())
		}
	}
	return x
}

func parseFix(item []byte) (x fix) {
	f := fields(item)
	x.id, x.partition, x.offset, x.from, x.to = f.text(), f.int32(), f.int64(), f.winner(), f.winner()
	x.next = f.winners()
	return x
}

// Repair recomputes the rows that firstclick.late could have changed, and moves those that have an earlier click. A row only
// ever moves to an earlier click, in the one transaction that marks the late events as repaired; so running it again, or while
// the pipeline runs, is harmless.
//
// What there is to do is what Verify finds "explained": the same reading, sorting and comparing.
func Repair(ctx context.Context, cfg Config) (*RepairReport, error) {
	a, err := newAudit(cfg)
	if err != nil {
		return nil, err
	}
	report, err := a.repair(ctx)
	return report, errors.Join(err, a.clear())
}

func (a *audit) repair(ctx context.Context) (*RepairReport, error) {
	begun := time.Now()
	a.fixes = a.sorter("fixes")
	if err := a.takeSnapshot(ctx); err != nil {
		return nil, err
	}
	r := &RepairReport{Late: a.snap.late}
	if r.Late == 0 {
		r.Elapsed = time.Since(begun)
		return r, nil
	}
	if err := a.examine(ctx); err != nil {
		return nil, err
	}
	if err := a.fixes.Finish(); err != nil {
		return nil, err
	}
	if err := a.applyRetrying(ctx, r); err != nil {
		return nil, err
	}
	r.Notes, r.Elapsed = a.report.Notes, time.Since(begun)
	a.progress.done()
	return r, nil
}

const repairAttempts = 5

// applyRetrying applies; what it changes may be locked by the pipeline the other way round.
func (a *audit) applyRetrying(ctx context.Context, r *RepairReport) error {
	for attempt := 1; ; attempt++ {
		done := *r
		err := a.apply(ctx, &done)
		if err == nil {
			*r = done
			return nil
		}
		var answer *pgconn.PgError
		if attempt == repairAttempts || !errors.As(err, &answer) || (answer.Code != "40P01" && answer.Code != "40001") {
			return err
		}
		a.log.Info("repair again: the pipeline was in the way", "error", err)
	}
}

// apply writes the fixes and marks the late events in one transaction.
func (a *audit) apply(ctx context.Context, r *RepairReport) error {
	a.progress.phase("rows repaired", a.fixes.count)
	conn, err := pgsession.Connect(ctx, a.cfg.Database, application)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin repair: %w", err)
	}
	steps := []struct {
		path string
		do   func(context.Context, pgx.Tx, *RepairReport) error
	}{
		{pgsession.TheirPathSQL, a.applyFixes}, // triggers of the table run
		{pgsession.OurPathSQL, a.markRepaired},
		{pgsession.TheirPathSQL, nil}, // and may run at COMMIT
	}
	for _, step := range steps {
		if _, err := tx.Exec(ctx, step.path); err != nil {
			return fmt.Errorf("repair: set search_path: %w", err)
		}
		if step.do == nil {
			continue
		}
		if err := step.do(ctx, tx, r); err != nil {
			return err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit repair: %w", err)
	}
	return nil
}

const repairBatch = 1000

func (a *audit) applyFixes(ctx context.Context, tx pgx.Tx, r *RepairReport) error {
	fixes, err := newStream(a.fixes, parseFix)
	if err != nil {
		return err
	}
	defer fixes.Close()
	var batch []fix
	for fixes.ok {
		batch = append(batch, fixes.head)
		if err := fixes.next(); err != nil {
			return err
		}
		if len(batch) == repairBatch || !fixes.ok {
			if err := a.applyByHalves(ctx, tx, batch, r); err != nil {
				return err
			}
			a.progress.add(int64(len(batch)))
			batch = batch[:0]
		}
	}
	return nil
}

// applyByHalves writes fixes. Where Postgres refuses one (a constraint, a trigger) its row keeps
// the click it has, and the others are written all the same.
func (a *audit) applyByHalves(ctx context.Context, tx pgx.Tx, batch []fix, r *RepairReport) error {
	nested, err := tx.Begin(ctx) // a savepoint
	if err != nil {
		return fmt.Errorf("write repaired rows: %w", err)
	}
	done := *r
	err = a.applyBatch(ctx, nested, batch, &done)
	if err == nil {
		_, err = nested.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", pgx.QueryExecModeSimpleProtocol)
	}
	if err == nil {
		*r = done
		return nested.Commit(ctx)
	}
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || !ofRow(answer) {
		return err
	}
	if back := nested.Rollback(ctx); back != nil {
		return errors.Join(fmt.Errorf("write repaired rows: %w", back), err)
	}
	if len(batch) == 1 {
		x := batch[0]
		if err := a.noteRefused(ctx, tx, x, answer); err != nil {
			return err
		}
		if len(x.next) == 0 {
			r.Refused++
			return nil
		}
		x.to, x.next = x.next[0], x.next[1:]
		return a.applyByHalves(ctx, tx, []fix{x}, r)
	}
	half := len(batch) / 2
	if err := a.applyByHalves(ctx, tx, batch[:half], r); err != nil {
		return err
	}
	return a.applyByHalves(ctx, tx, batch[half:], r)
}

// ofRow says whether an answer is about the row: data exceptions, integrity violations, limits and
// what triggers raise are. The rest is about us.
func ofRow(answer *pgconn.PgError) bool {
	for _, class := range []string{"22", "23", "54", "P0"} {
		if strings.HasPrefix(answer.Code, class) {
			return true
		}
	}
	return answer.Routine == "exec_stmt_raise"
}

// noteRefused writes the dead letter that the pipeline writes where it meets such a click.
func (a *audit) noteRefused(ctx context.Context, tx pgx.Tx, x fix, answer *pgconn.PgError) error {
	detail := fmt.Sprintf("click %s: SQLSTATE %s: %s", x.to, answer.Code, answer.Message)
	_, err := tx.Exec(ctx, `INSERT INTO firstclick.dead_letters (group_id, topic, topic_id, partition, "offset", reason, detail, payload_size)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING`,
		a.cfg.Group, a.checkouts.name, a.checkouts.id, x.partition, x.offset, reasonRefusedClick, detail)
	if err != nil {
		return fmt.Errorf("note a refused click: %w", err)
	}
	return nil
}

func (a *audit) applyBatch(ctx context.Context, tx pgx.Tx, batch []fix, r *RepairReport) error {
	ids, clicks, times := make([]string, len(batch)), make([]string, len(batch)), make([]time.Time, len(batch))
	had, hadTimes := make([]*string, len(batch)), make([]*time.Time, len(batch))
	byID := make(map[string]fix, len(batch))
	for i, x := range batch {
		ids[i], clicks[i], times[i] = x.id, x.to.id, time.UnixMicro(x.to.time).UTC()
		if x.from.ok {
			had[i], hadTimes[i] = &x.from.id, new(time.UnixMicro(x.from.time).UTC())
		}
		byID[x.id] = x
	}
	// A row as it was judged moves by the clicks' own times, whatever the column holds of them; one that has moved since, by what the column holds.
	rows, err := tx.Query(ctx, `
		UPDATE commerce.attributed_checkouts AS r SET click_id = n.click_id, click_time = n.click_time
		FROM unnest($1::text[], $2::text[], $3::timestamp[], $4::text[], $5::timestamp[]) AS n (checkout_id, click_id, click_time, had, had_time)
		WHERE r.checkout_id OPERATOR(pg_catalog.=) n.checkout_id
		  AND (r.click_id IS NULL OR (r.click_id, r.click_time) OPERATOR(pg_catalog.=) (n.had, n.had_time)
		       OR (n.click_time, n.click_id COLLATE "C") OPERATOR(pg_catalog.<) (r.click_time, r.click_id COLLATE "C"))
		RETURNING n.checkout_id`, ids, clicks, times, had, hadTimes)
	if err != nil {
		return fmt.Errorf("write repaired rows: %w", err)
	}
	moved, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("write repaired rows: %w", err)
	}
	r.Moved += int64(len(moved))
	r.Kept += int64(len(batch) - len(moved))
	for _, id := range moved {
		if len(r.Examples) < a.cfg.Examples {
			x := byID[id]
			r.Examples = append(r.Examples, Example{Kind: KindMoved, CheckoutID: id, Expected: x.to.String(), Actual: x.from.String() + " before", Partition: -1, Offset: -1})
		}
	}
	return nil
}

// markRepaired marks the late events of the snapshot, except checkouts that Kafka no longer holds
// and clicks that some shard had not read: that shard may yet find the click too late for a row of
// its own, and that row was not judged here. Invariant: a note is closed when no row that it
// concerns can be wrong without another note. So one of an event that was not late is not closed
// before all that the event concerns is final: it was dated far ahead of a clock, and no restart
// reads such a click again, nothing corrects such a checkout.
func (a *audit) markRepaired(ctx context.Context, tx pgx.Tx, r *RepairReport) error {
	marks, err := newStream(a.snap.marks, parseMark)
	if err != nil {
		return err
	}
	defer marks.Close()
	var topics []string
	var ids [][16]byte
	var partitions []int32
	var offsets []int64
	flush := func() error {
		tag, err := tx.Exec(ctx, `
			UPDATE firstclick.late AS l SET repaired_at = now()
			FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[]) AS n (topic, topic_id, partition, "offset")
			WHERE l.group_id = $1 AND l.topic = n.topic AND l.topic_id = n.topic_id AND l.partition = n.partition
			  AND l."offset" = n."offset" AND l.repaired_at IS NULL`, a.cfg.Group, topics, ids, partitions, offsets)
		if err != nil {
			return fmt.Errorf("mark late events as repaired: %w", err)
		}
		r.Repaired += tag.RowsAffected()
		topics, ids, partitions, offsets = topics[:0], ids[:0], partitions[:0], offsets[:0]
		return nil
	}
	for ; marks.ok; err = marks.next() {
		if err != nil {
			return err
		}
		m := marks.head
		if m.kind != markLate {
			continue
		}
		log := a.clicks
		switch {
		case m.early != 0 && !a.snap.finalAt(m.late.time+a.snap.window.Microseconds()): // not late: its rows may still come, and move
			r.Ahead++
			continue
		case m.topic == topicCheckouts:
			log = a.checkouts
			if log.gone(m) {
				r.Left++
				continue
			}
		case !a.snap.readByAll(m):
			r.Unread++
			continue
		}
		topics, ids = append(topics, log.name), append(ids, m.topicID)
		partitions, offsets = append(partitions, m.partition), append(offsets, m.offset)
		if len(topics) == repairBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err != nil || len(topics) == 0 {
		return err
	}
	return flush()
}

// readByAll says whether every shard had read a click and stored what it meant for the shard's rows.
func (s *snapshot) readByAll(m mark) bool {
	return int(m.partition) < len(s.clicksNext) && m.offset < s.clicksNext[m.partition]
}

// gone says whether Kafka no longer holds the record.
func (t topicLog) gone(m mark) bool {
	if m.topicID != ([16]byte{}) && m.topicID != t.id {
		return true
	}
	for _, p := range t.partitions {
		if p.partition == m.partition {
			return m.offset < p.logStart
		}
	}
	return true
}
