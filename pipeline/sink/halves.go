package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// byHalves has the members of list written, and finds those that Postgres refuses, for whatever reason: a type, a constraint, an encoding, a trigger
// with an SQLSTATE of its own. list was refused as a whole, with the error first, and what was written of it has been gone back from. A piece that is
// refused is cut until one member is left.
//
// What Postgres says of no member at all it says of everything (a right that is missing, a trigger for each statement): write is called once with an
// empty piece, and its error is returned.
func byHalves[T any](ctx context.Context, t *try, list []T, first error, write func(piece []T) error, refused func(one T, saidOf error)) error {
	if saidOf, err := within(ctx, t, nil, write); saidOf != nil || err != nil {
		return errors.Join(saidOf, err)
	}
	c := newCuts(len(list), first)
	var again []T // they needed another one, which may have been written since
	written := 0
	for {
		piece, ok := c.next()
		switch {
		case !ok && len(again) == 0:
			return nil
		case !ok && written == 0:
			for _, one := range again {
				refused(one, first)
			}
			return nil
		case !ok:
			list, again, written = again, nil, 0
			c = newCuts(len(list), nil)
			continue
		}
		saidOf, err := within(ctx, t, list[piece.lo:piece.hi], write)
		switch {
		case err != nil:
			return err
		case saidOf == nil:
			written += piece.hi - piece.lo
			c.good(piece)
		case piece.hi-piece.lo > 1:
			c.cut(piece, saidOf)
		case needsAnother(saidOf):
			again, first = append(again, list[piece.lo]), saidOf
		default:
			refused(list[piece.lo], saidOf)
		}
	}
}

// within writes a piece in a savepoint of its own, which stays only where all of it was taken. saidOf is what Postgres has against its members.
func within[T any](ctx context.Context, t *try, piece []T, write func(piece []T) error) (saidOf, err error) {
	if _, err := t.conn.Exec(ctx, "SAVEPOINT piece", pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, fmt.Errorf("try a piece: %w", err)
	}
	then := "RELEASE SAVEPOINT piece"
	if saidOf = write(piece); saidOf != nil {
		if !t.ofRows(saidOf) {
			return nil, saidOf
		}
		then = "ROLLBACK TO SAVEPOINT piece; " + then
	}
	if _, err := t.conn.Exec(ctx, then, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, fmt.Errorf("go on after a piece: %w", err)
	}
	return saidOf, nil
}

type span struct{ lo, hi int }

// cuts are the pieces of a list that are still to be tried: halves, or what lies around the member that Postgres named, until that once proves wrong.
type cuts struct {
	pieces []span // the last one comes next
	hinted span
	wrong  bool
}

// newCuts cuts a list of n that was refused; with err nil it is to be tried as a whole.
func newCuts(n int, err error) *cuts {
	c := &cuts{}
	if all := (span{0, n}); err == nil {
		c.pieces = []span{all}
	} else {
		c.cut(all, err)
	}
	return c
}

func (c *cuts) next() (span, bool) {
	n := len(c.pieces) - 1
	if n < 0 {
		return span{}, false
	}
	piece := c.pieces[n]
	c.pieces = c.pieces[:n]
	return piece, true
}

func (c *cuts) good(piece span) { c.wrong = c.wrong || piece == c.hinted }

func (c *cuts) cut(piece span, err error) {
	parts := []span{{piece.lo + (piece.hi-piece.lo)/2, piece.hi}, {piece.lo, piece.lo + (piece.hi-piece.lo)/2}}
	if line, ok := copyLine(err); ok && !c.wrong && line <= piece.hi-piece.lo {
		at := piece.lo + line - 1
		c.hinted = span{at, at + 1}
		parts = []span{{at + 1, piece.hi}, c.hinted, {piece.lo, at}}
	}
	for _, p := range parts {
		if p.lo < p.hi {
			c.pieces = append(c.pieces, p)
		}
	}
}

// meddledError says that a row was not written although Postgres refused nothing.
type meddledError struct{ what string }

func (e *meddledError) Error() string { return e.what }

// patience is how many times a function of the database is believed that what it says passes.
const patience = 5

// ofRows says whether what was being written may be the cause of an error, in one of its members. Left out is what passes, and that the form of the
// data is not what the columns' types read (22P03, 22P04) or that storage is damaged (XX001, XX002): every row would be refused.
func (t *try) ofRows(err error) bool { return ofRows(err, t.work.raised) }

func ofRows(err error, raised int) bool {
	var meddled *meddledError
	var pe *pgconn.PgError
	if errors.As(err, &meddled) {
		return true
	}
	if !errors.As(err, &pe) || pe.SeverityUnlocalized != "ERROR" {
		return false
	}
	switch pe.Code {
	case "22P03", "22P04", "XX001", "XX002":
		return false
	}
	_, passing := passes(err)
	return !passing || raisedByFunction(err) && raised >= patience
}

// raisedByFunction says that the error is a RAISE of somebody's function, and its SQLSTATE that one's choice.
func raisedByFunction(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Routine == "exec_stmt_raise"
}

// mayBeOfClick says whether a row without its click may be taken. It is not where Postgres names
// another column, while it reads the row.
func mayBeOfClick(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return true
	}
	words := strings.Fields(pe.Where[strings.LastIndex(pe.Where, "\n")+1:])
	return len(words) == 0 || !slices.Contains(ownColumns[:], words[len(words)-1])
}

// needsAnother says that a foreign key was not satisfied, which another row may do.
func needsAnother(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23503"
}

// refusal says why in words that hold no value of the row.
func refusal(err error) string {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return err.Error()
	}
	detail := "SQLSTATE " + pe.Code + ": " + pe.Message
	if pe.ColumnName != "" {
		detail += " (column " + pe.ColumnName + ")"
	}
	if pe.ConstraintName != "" {
		detail += " (constraint " + pe.ConstraintName + ")"
	}
	return detail
}

// copyLine reads the number out of "COPY attributed_checkouts, line 3, column total_amount", in whatever language: it counts the rows of the
// copy from 1.
func copyLine(err error) (int, bool) {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return 0, false
	}
	_, after, found := strings.Cut(pe.Where[strings.LastIndex(pe.Where, "\n")+1:], ",")
	from := strings.IndexAny(after, "0123456789")
	if !found || from < 0 {
		return 0, false
	}
	to := from
	for to < len(after) && after[to] >= '0' && after[to] <= '9' {
		to++
	}
	n, err := strconv.Atoi(after[from:to])
	return n, err == nil && n > 0
}
