package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"firstclick/cdc"
	"firstclick/internal/pgsession"
	"firstclick/join/event"
)

// attempt is one transaction that writes a commitSet. This file is the transaction from top to
// bottom; what it does with duplicates, refusals and letters is in files of their own.
type attempt struct {
	sink   *Sink
	target *target
	set    *commitSet
	conn   *pgx.Conn
	result commitResult

	rowsDone   bool // what follows the rows is being written
	commitSent bool // COMMIT may have reached Postgres

	withoutClick map[*event.Released]bool // rows written without their click, which Postgres refused
	corrections  []correction
	corrected    bool          // the corrections are made: see correctEach
	letters      []*DeadLetter // not copied yet, in the order of their keys
}

func (a *attempt) run(ctx context.Context) error {
	var err error
	if a.target, err = a.sink.describe(ctx, a.conn); err != nil {
		return err
	}
	a.result.staged = a.set.ticket != nil
	if err := a.begin(ctx); err != nil {
		return err
	}
	if len(a.set.rows) > 0 {
		if err := a.writeRows(ctx); err != nil {
			return err
		}
	}
	a.rowsDone = true
	a.corrections = a.set.corrections(&a.result)
	a.corrected = a.set.savepoints || a.target.rowTriggers || len(a.withoutClick) > 0 ||
		slices.ContainsFunc(a.corrections, func(c correction) bool { return a.target.tooLong(c.Click) })
	if a.corrected {
		if err := a.correctEach(ctx); err != nil {
			return err
		}
	}
	if err := a.copyLetters(ctx); err != nil {
		return err
	}
	return a.finish(ctx)
}

// moveSQL moves a shard's position, if the shard is its owner's and as the owner left it.
const moveSQL = `UPDATE firstclick.offsets SET topic_id = $6, leader_epoch = $7, commits = commits + 1,
		next_offset = $8, recent_offset = $9, clicks_next = $10, clicks_restore = $11, clicks_epoch = $12,
		watermark = greatest(watermark, $13), final_before = greatest(final_before, $14), expire_before = $15,
		clicks_latest = $16, committed_at = greatest(committed_at, now())
	WHERE group_id = $1 AND topic = $2 AND partition = $3 AND owner = $4 AND commits = $5`

// begin opens the transaction, moves the offsets rows and looks whether the names are still those
// of commerce.users: one round trip.
func (a *attempt) begin(ctx context.Context) error {
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	// Invariant: the table stays as it is described until the end of the transaction.
	b.Queue(a.target.lock)
	b.Queue(versionSQL).QueryRow(func(row pgx.Row) error {
		var version string
		if err := row.Scan(&version); err != nil || version == a.target.version {
			return err
		}
		return errAltered
	})
	moved := int64(0)
	for _, batch := range a.set.batches {
		c := batch.Claim
		args := []any{c.Group, c.Topic, c.Partition, pgtype.UUID{Bytes: c.Owner, Valid: true}, c.Commits}
		args = append(args, positionArgs(batch.TopicID, &batch.Position)...)
		b.Queue(moveStatement(), args...).Exec(addTo(&moved))
	}
	var edition string
	if a.set.namesOf != "" {
		b.Queue(cdc.EditionSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&edition) })
	}
	if a.set.ticket != nil {
		b.Queue(a.target.stage)
	}
	// Triggers of the table run from here on, some at COMMIT. Invariant: no statement after this
	// one depends on the search_path.
	b.Queue(pgsession.TheirPathSQL)
	if len(a.set.rows) > 0 {
		b.Queue("SAVEPOINT rows")
	}
	if err := a.conn.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("begin, and move offsets: %w", err)
	}
	if moved == int64(len(a.set.batches)) {
		return a.sink.checkNames(a.set, edition)
	}
	if err := a.exec(ctx, "ROLLBACK"); err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	found, err := a.set.readShards(ctx, a.conn, false)
	if err != nil {
		return err
	}
	return found.notMoved()
}

// writeRows copies the rows straight into the table. Rows that are likely to exist, and all rows if
// one proves to exist, go through the temporary table (writeStaged).
//
// Two transactions with one checkout_id can block each other. So transactions with duplicates take
// turns, by ticket. One that looks rows up holds its turn from beginning to end. Another holds it
// only while it uses the temporary table, because nobody else has the rows that it copies straight.
// Another instance's transaction may still come between. Then all rows go through the temporary
// table.
func (a *attempt) writeRows(ctx context.Context) error {
	fresh, likely, err := a.split(ctx)
	if err == nil && len(fresh) > 0 {
		err = a.copyFresh(ctx, fresh)
	}
	if errors.Is(err, errDuplicate) {
		// Nothing is written. By the simple protocol: a failed transaction takes nothing else
		// before it is rolled back.
		a.result.staged = true
		back := "ROLLBACK TO SAVEPOINT rows; " + a.target.stage + "; SAVEPOINT rows"
		if err := a.exec(ctx, back); err != nil {
			return fmt.Errorf("go back to before the rows: %w", err)
		}
		return a.writeStaged(ctx, a.notRejected(a.set.rows))
	}
	if err != nil {
		return err
	}
	a.countFresh(a.notRejected(fresh))
	if len(likely) == 0 {
		return nil
	}
	if err := a.set.ticket.wait(ctx, a.sink.clock.After(ticketTimeout)); err != nil {
		return err
	}
	// What the temporary table refuses must not undo what was copied.
	if err := a.exec(ctx, "SAVEPOINT rows"); err != nil {
		return fmt.Errorf("keep the rows copied: %w", err)
	}
	return a.writeStaged(ctx, likely)
}

// errDuplicate says that rows which were to go straight into the table have to go through the
// temporary one: a checkout_id has a row, or a trigger may have changed something.
var errDuplicate = errors.New("rows are to be compared")

// copyFresh copies rows straight into the table, in the open savepoint "rows".
func (a *attempt) copyFresh(ctx context.Context, rows []rowRef) error {
	return a.writePieces(ctx, "rows", rows, func(piece []rowRef) error {
		n, err := a.copy(ctx, a.target.copy, piece, false)
		if sqlState(err) == uniqueViolation { // it may be that of checkout_id
			a.result.unforeseen = true
			return errDuplicate
		}
		if err == nil && n == int64(len(piece)) && a.target.rowTriggers {
			existing := newMask(len(a.set.rows))
			err = a.lookUp(ctx, piece, existing)
			n = int64(existing.count())
		}
		if err == nil && n != int64(len(piece)) { // writeStaged finds out which rows are missing
			return errDuplicate
		}
		if err == nil {
			err = a.checkDeferred(ctx)
		}
		return err
	})
}

// copy sends a COPY of the rows, and says how many were taken.
func (a *attempt) copy(ctx context.Context, sql string, rows []rowRef, ordinals bool) (int64, error) {
	r := &rowReader{
		rows: rows, fields: a.set.fields, names: a.set.names, withoutClick: a.withoutClick, ordinals: ordinals,
	}
	defer r.stop()
	tag, err := a.conn.PgConn().CopyFrom(ctx, r, sql)
	return tag.RowsAffected(), err
}

// checkDeferred makes Postgres check at once what it would check at COMMIT (deferred constraints),
// if it has refused something there. It also delays a deferrable constraint that is not deferred,
// up to the next check.
func (a *attempt) checkDeferred(ctx context.Context) error {
	if !a.set.savepoints {
		return nil
	}
	return a.exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
}

// exec sends statements without arguments, by the simple protocol.
func (a *attempt) exec(ctx context.Context, sql string) error {
	_, err := a.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// countFresh counts rows that were inserted.
func (a *attempt) countFresh(rows []rowRef) {
	a.result.Fresh += int64(len(rows))
	for _, r := range rows {
		switch {
		case a.withoutClick[r.Released]:
			a.assertClick(r)
		case r.HasClick:
			a.result.Attributed++
		}
		if _, ok := a.set.names[r.User]; !ok {
			a.result.Unknown++
			a.result.unnamed = append(a.result.unnamed, r)
		}
	}
}

// reject makes a row a dead letter.
func (a *attempt) reject(r rowRef, reason event.Reason, detail string) {
	if a.result.rejected == nil {
		a.result.rejected = map[*event.Released]bool{}
	}
	a.result.rejected[r.Released] = true
	letter := &DeadLetter{
		Topic: r.batch.Claim.Topic, TopicID: r.batch.TopicID, Partition: r.batch.Claim.Partition, Offset: r.Offset,
		Reason: reason, Detail: detail, RecordTime: r.RecordTime,
	}
	a.sink.payloads.Keep(letter, r.Value())
	a.result.letters = append(a.result.letters, letter)
}

func (a *attempt) notRejected(rows []rowRef) []rowRef {
	if len(a.result.rejected) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r rowRef) bool { return a.result.rejected[r.Released] })
}

const (
	unnamedSQL = `INSERT INTO firstclick.unknown_users (user_id, checkout_id)
		SELECT * FROM unnest($1::int[], $2::text[]) ON CONFLICT DO NOTHING`
	// If repair handled the event before this shard read it, the note is opened again: repair did
	// not know this shard's rows.
	lateSQL = `INSERT INTO firstclick.late AS l (group_id, topic, topic_id, partition, "offset",
			kind, event_id, user_id, product_id, event_time)
		SELECT $1::text, * FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[],
			$6::text[], $7::text[], $8::int[], $9::text[], $10::timestamptz[])
		ON CONFLICT (group_id, topic, topic_id, partition, "offset") DO UPDATE SET repaired_at = NULL
			WHERE l.repaired_at IS NOT NULL`
)

// addTo adds the rows of a statement in a batch.
func addTo(to *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*to += tag.RowsAffected()
		return nil
	}
}

// latePerStatement bounds the memory of one INSERT.
const latePerStatement = 1000

// finish sends what is left, and COMMIT: one round trip.
func (a *attempt) finish(ctx context.Context) error {
	var b pgx.Batch
	result := &a.result
	clean := clean
	if a.set.savepoints {
		clean = ascii
	}
	if !a.corrected {
		least := slices.CompactFunc(a.corrections, func(a, b correction) bool { return a.Checkout == b.Checkout })
		queueCorrections(&b, a.target, least, func(_, moved int64) error {
			result.Corrected += moved
			return nil
		})
	}
	if rows := result.unnamed; len(rows) > 0 {
		b.Queue(unnamedSQL,
			list(rows, func(r rowRef) int32 { return r.User }),
			list(rows, func(r rowRef) string { return string(r.IDText()) }))
	}
	for _, d := range a.letters {
		b.Queue(insertLetterSQL, letterValues(a.set.group, d, clean)...).Exec(addTo(&result.DeadLetters))
	}
	for late := range slices.Chunk(a.set.late, latePerStatement) {
		b.Queue(lateSQL, a.set.group,
			list(late, func(l *Late) string { return l.Topic }),
			list(late, func(l *Late) pgtype.UUID { return pgtype.UUID{Bytes: l.TopicID, Valid: true} }),
			list(late, func(l *Late) int32 { return l.Partition }),
			list(late, func(l *Late) int64 { return l.Offset }),
			list(late, func(l *Late) string { return l.Kind }),
			list(late, func(l *Late) string { return clean(l.EventID) }),
			list(late, func(l *Late) int32 { return l.User }),
			list(late, func(l *Late) string { return clean(l.Product) }),
			list(late, func(l *Late) pgtype.Timestamptz { return instant(l.Time) }),
		).Exec(addTo(&result.Late))
	}
	committed := false
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return &rolledBackError{tag.String()}
		}
		committed = true
		return nil
	})
	a.commitSent = true
	err := a.conn.SendBatch(ctx, &b).Close()
	if committed { // the answer is there: what happens to the session now does not matter
		return nil
	}
	if err != nil {
		return fmt.Errorf("write corrections and dead letters, and commit: %w", err)
	}
	return errors.New("commit: no answer was read")
}

// correctionsPerStatement bounds the memory of one UPDATE.
const correctionsPerStatement = 20_000

// queueCorrections queues corrections of different checkouts. done gets how many rows were to move,
// and how many did.
func queueCorrections(b *pgx.Batch, to *target, all []correction, done func(moving, moved int64) error) {
	for more := true; more; more = len(all) > 0 { // once without a correction too: bisect tries that
		some := all[:min(len(all), correctionsPerStatement)]
		all = all[len(some):]
		b.Queue(to.correct,
			list(some, func(c correction) string { return c.Checkout.String() }),
			list(some, func(c correction) string { return c.Click.String() }),
			list(some, func(c correction) time.Time { return time.UnixMicro(c.ClickTime).UTC() }),
		).QueryRow(func(row pgx.Row) error {
			var moving, moved int64
			if err := row.Scan(&moving, &moved); err != nil {
				return err
			}
			return done(moving, moved)
		})
	}
}
