package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	left, err := t.copyRows(ctx, t.target.copy, t.work.rows, false)
	switch {
	case isUniqueViolation(err): // nothing was written; what was found refused on the way is not tried again
		t.out.met = true
		return t.stageAgain(ctx, left)
	case err != nil:
		return err
	}
	t.settleFresh(left)
	return nil
}

const uniqueViolation = "23505"

func isUniqueViolation(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == uniqueViolation
}

// settleFresh counts rows that were inserted.
func (t *try) settleFresh(rows []entry) {
	t.out.result.Fresh += int64(len(rows))
	for _, e := range rows {
		if e.row.HasClick {
			t.out.result.Attributed++
		}
		if _, ok := t.work.names[e.row.User]; !ok {
			t.out.result.Unknown++
			t.out.unknown = append(t.out.unknown, e)
		}
	}
}

func (t *try) refuse(e entry, pe *pgconn.PgError) {
	t.out.result.Refused++
	t.reject(e, join.ReasonRefused, refusal(pe))
}

// reject makes a row a dead letter.
func (t *try) reject(e entry, reason join.Reason, detail string) {
	t.out.rejected = append(t.out.rejected, e)
	t.out.letters = append(t.out.letters, t.work.letter(e, reason, detail))
}

type span struct{ lo, hi int }

// copyRows copies rows, in the open savepoint "rows". Rows that Postgres refuses become dead letters: the copy is
// gone back from and made again in pieces, each in a savepoint, around the line that Postgres named, or in halves where that proves wrong. It returns the
// rows that were not refused, also with an error. A unique violation is not a refusal here.
func (t *try) copyRows(ctx context.Context, sql string, rows []entry, ordinals bool) ([]entry, error) {
	err := t.copyPiece(ctx, sql, rows, 0, ordinals)
	pe, refused := refuses(err)
	if !refused || pe.Code == uniqueViolation {
		return rows, wrapCopy(err)
	}
	before := "ROLLBACK TO SAVEPOINT rows; SAVEPOINT piece; "
	hints := true
	bad := make([]bool, len(rows))
	good := func() []entry {
		i := -1
		return slices.DeleteFunc(slices.Clone(rows), func(entry) bool { i++; return bad[i] })
	}
	pieces, hinted := split(nil, span{0, len(rows)}, pe, hints)
	if len(rows) == 1 {
		pieces, bad[0] = nil, true
		t.refuse(rows[0], pe)
	}
	for len(pieces) > 0 {
		piece := pieces[len(pieces)-1]
		pieces = pieces[:len(pieces)-1]
		err := t.copyPiece(ctx, before+sql, rows[piece.lo:piece.hi], piece.lo, ordinals)
		if err == nil {
			before = "RELEASE SAVEPOINT piece; SAVEPOINT piece; "
			hints = hints && (!hinted.is(piece))
			continue
		}
		pe, refused := refuses(err)
		if !refused || pe.Code == uniqueViolation {
			return good(), wrapCopy(err)
		}
		before = "ROLLBACK TO SAVEPOINT piece; "
		if piece.hi-piece.lo == 1 {
			bad[piece.lo] = true
			t.refuse(rows[piece.lo], pe)
			continue
		}
		pieces, hinted = split(pieces, piece, pe, hints)
	}
	if strings.HasPrefix(before, "ROLLBACK") { // the last piece failed
		if _, err := t.conn.Exec(ctx, before, pgx.QueryExecModeSimpleProtocol); err != nil {
			return good(), fmt.Errorf("go back to before a refused row: %w", err)
		}
	}
	return good(), nil
}

func (s span) is(o span) bool { return s == o }

// split cuts a piece that was refused, and pushes its parts so that the first comes next. hinted is the one row that Postgres named.
func split(pieces []span, piece span, pe *pgconn.PgError, hints bool) (out []span, hinted span) {
	if piece.hi-piece.lo <= 1 {
		return pieces, span{}
	}
	if line, ok := copyLine(pe.Where); ok && hints && line <= piece.hi-piece.lo {
		at := piece.lo + line - 1
		hinted = span{at, at + 1}
		for _, p := range []span{{at + 1, piece.hi}, hinted, {piece.lo, at}} {
			if p.lo < p.hi {
				pieces = append(pieces, p)
			}
		}
		return pieces, hinted
	}
	mid := (piece.lo + piece.hi) / 2
	return append(pieces, span{mid, piece.hi}, span{piece.lo, mid}), span{}
}

// copyLine reads the number out of "COPY attributed_checkouts, line 3, column total_amount", in whatever language: it counts the rows of the
// copy from 1.
func copyLine(where string) (int, bool) {
	_, after, _ := strings.Cut(where, ",")
	from := strings.IndexAny(after, "0123456789")
	if from < 0 {
		return 0, false
	}
	to := from
	for to < len(after) && after[to] >= '0' && after[to] <= '9' {
		to++
	}
	n, err := strconv.Atoi(after[from:to])
	return n, err == nil && n > 0
}

func wrapCopy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("copy rows: %w", err)
}

// copyPiece sends sql, whose last statement is a COPY, and the rows.
func (t *try) copyPiece(ctx context.Context, sql string, rows []entry, first int, ordinals bool) error {
	r := newRowReader(rows, t.work.names)
	r.ordinals, r.first = ordinals, first
	defer r.stop()
	_, err := t.conn.PgConn().CopyFrom(ctx, r, sql)
	return err
}
