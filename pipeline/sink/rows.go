package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/join"
)

// pathChoice remembers whether the last commits with rows met duplicates that were not familiar. A plain COPY that meets one costs itself, on average by half, and
// then twice that through the temporary table; to ask for all ids first costs about a COPY. So the latter pays where two of three commits meet
// some, as they do while a restarted shard reads again what it has written.
type pathChoice struct{ history atomic.Uint32 }

// note records a commit: bit 0 is the last one.
func (p *pathChoice) note(met bool) {
	h := p.history.Load() << 1
	if met {
		h |= 1
	}
	p.history.Store(h & 0b111)
}

func (p *pathChoice) asks() bool {
	switch p.history.Load() {
	case 0b011, 0b110, 0b101, 0b111:
		return true
	}
	return false
}

// writeRows writes the rows that are new and finds out about the others.
func (t *try) writeRows(ctx context.Context) error {
	if t.out.staged {
		return t.writeSifted(ctx)
	}
	left, err := t.copyFresh(ctx, t.work.rows)
	switch {
	case errors.Is(err, errMet): // nothing was written; what was found refused on the way is not tried again
		return t.stageAgain(ctx, left)
	case err != nil:
		return err
	}
	t.settleFresh(left)
	return nil
}

// errMet says that rows which were to go straight into the table have to go through the temporary one: a checkout_id has a row, or a trigger may have
// changed something.
var errMet = errors.New("rows are to be compared")

const uniqueViolation = "23505"

// met turns the violation of a unique index, which may be that of checkout_id, into errMet.
func (t *try) met(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == uniqueViolation {
		t.out.met = true
		return errMet
	}
	return err
}

// settleFresh counts rows that were inserted.
func (t *try) settleFresh(rows []entry) {
	t.out.result.Fresh += int64(len(rows))
	for _, e := range rows {
		switch {
		case t.bare[e.row]:
			t.clickAgain(e)
		case e.row.HasClick:
			t.out.result.Attributed++
		}
		if _, ok := t.work.names[e.row.User]; !ok {
			t.out.result.Unknown++
			t.out.unknown = append(t.out.unknown, e)
		}
	}
}

func (t *try) refuse(e entry, why string) {
	t.out.result.Refused++
	t.reject(e, join.ReasonRefused, why)
}

// reject makes a row a dead letter.
func (t *try) reject(e entry, reason join.Reason, detail string) {
	t.out.rejected = append(t.out.rejected, e)
	letter := t.work.letter(e, reason, detail)
	t.sink.payloads.Keep(letter.DeadLetter, e.row.Payload)
	t.out.letters = append(t.out.letters, letter)
}

// copyFresh copies rows straight into the table, in the open savepoint "rows". It returns those that were not refused, also with an error.
func (t *try) copyFresh(ctx context.Context, rows []entry) ([]entry, error) {
	return t.copyRows(ctx, rows, func(piece []entry) error {
		n, err := t.copyPiece(ctx, t.target.copy, piece, nil)
		if err != nil {
			return t.met(err)
		}
		if n == int64(len(piece)) && t.target.meddled {
			n, err = t.standing(ctx, piece)
		}
		switch {
		case err != nil:
			return err
		case n != int64(len(piece)): // which are not there, the way through the temporary table finds out
			return errMet
		}
		return t.checkDeferred(ctx)
	})
}

// copyRows writes rows in the open savepoint "rows". Those that Postgres refuses, without their
// click too, become dead letters; it returns the others, also with an error.
func (t *try) copyRows(ctx context.Context, rows []entry, write func(piece []entry) error) ([]entry, error) {
	err := write(rows)
	if err == nil || !t.ofRows(err) {
		return rows, wrapCopy(err)
	}
	if _, err := t.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT rows", pgx.QueryExecModeSimpleProtocol); err != nil {
		return rows, fmt.Errorf("go back to before a refused row: %w", err)
	}
	bad := map[*Row]bool{}
	err = t.halveRows(ctx, rows, err, write, func(e entry, why string) {
		bad[e.row] = true
		t.refuse(e, why)
	})
	return slices.DeleteFunc(slices.Clone(rows), func(e entry) bool { return bad[e.row] }), wrapCopy(err)
}

// halveRows finds those rows that Postgres refuses, and tries them once more without their click
// (invariant: a click that is refused costs the checkout neither its row nor its next click).
func (t *try) halveRows(ctx context.Context, rows []entry, first error, write func(piece []entry) error, refused func(e entry, why string)) error {
	var bare []entry
	err := byHalves(ctx, t, rows, first, write, func(e entry, saidOf error) {
		if e.row.HasClick && !t.bare[e.row] && mayBeOfClick(saidOf) {
			bare = append(bare, e)
			return
		}
		refused(e, refusal(saidOf))
	})
	if err != nil || len(bare) == 0 {
		return err
	}
	for _, e := range bare {
		t.strip(e)
	}
	saidOf, err := within(ctx, t, bare, write)
	if saidOf == nil {
		return err
	}
	return byHalves(ctx, t, bare, saidOf, write, func(e entry, saidOf error) {
		delete(t.bare, e.row)
		refused(e, refusal(saidOf))
	})
}

// strip lets a row be written without its click.
func (t *try) strip(e entry) {
	if t.bare == nil {
		t.bare = map[*Row]bool{}
	}
	t.bare[e.row] = true
}

func wrapCopy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("copy rows: %w", err)
}

// copyPiece sends a COPY of the rows, and says how many were taken. ordinal is that of the first one, for the temporary table.
func (t *try) copyPiece(ctx context.Context, sql string, rows []entry, ordinal *int) (int64, error) {
	r := newRowReader(rows, t.work.names, t.bare)
	if ordinal != nil {
		r.ordinals, r.first = true, *ordinal
	}
	defer r.stop()
	tag, err := t.conn.PgConn().CopyFrom(ctx, r, sql)
	return tag.RowsAffected(), err
}

// standing counts the rows that are in the table under their checkout_id.
func (t *try) standing(ctx context.Context, rows []entry) (n int64, err error) {
	ids := make([]string, len(rows))
	for i, e := range rows {
		ids[i] = string(ownID(e.row.Own))
	}
	found, err := t.conn.Query(ctx, t.target.known, ids)
	if err != nil {
		return 0, err
	}
	defer found.Close()
	for found.Next() {
		n++
	}
	return n, found.Err()
}

// checkDeferred asks for what Postgres would otherwise say at COMMIT, of everything at once (a constraint that is deferred), once it has said something
// there. What is deferrable and not deferred waits a little as well then, until the next time.
func (t *try) checkDeferred(ctx context.Context) error {
	if !t.work.wary {
		return nil
	}
	_, err := t.conn.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", pgx.QueryExecModeSimpleProtocol)
	return err
}
