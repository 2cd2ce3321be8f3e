package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/join/event"
)

// bisect writes list, and finds the members that Postgres refuses, for whatever reason: a type, a
// constraint, an encoding, a trigger with an SQLSTATE of its own. try writes a piece, all of it or
// nothing. It returns the refusal if Postgres refuses members of the piece, or an error that ends
// the search. first is the refusal of the whole list; nil: the list was not tried yet. A piece that
// is refused is cut until one member is left: in halves, or around the member that Postgres names.
//
// If Postgres refuses an empty piece, it refuses everything (a missing right, a trigger FOR EACH
// STATEMENT). So bisect tries one before it cuts the list, and returns that refusal.
func bisect[T any](
	list []T, first error, try func(piece []T) (refusal, err error), refused func(one T, refusal error),
) error {
	if first == nil {
		var err error
		if first, err = try(list); first == nil {
			return err
		}
	}
	if refusal, err := try(nil); refusal != nil || err != nil {
		return errors.Join(refusal, err)
	}
	var again []T // they needed another member, which may have been written since
	written, hintsFail := 0, false
	var search func(piece []T, refusal error) error
	search = func(piece []T, refusal error) error {
		if len(piece) == 1 {
			if sqlState(refusal) == foreignKeyViolation {
				again, first = append(again, piece[0]), refusal
			} else {
				refused(piece[0], refusal)
			}
			return nil
		}
		parts := [][]T{piece[:len(piece)/2], {}, piece[len(piece)/2:]}
		if line, ok := copyLine(refusal); ok && !hintsFail && line <= len(piece) {
			parts = [][]T{piece[:line-1], piece[line-1 : line], piece[line:]}
		}
		for i, part := range parts {
			if len(part) == 0 {
				continue
			}
			refusal, err := try(part)
			if err == nil && refusal != nil {
				err = search(part, refusal)
			} else if err == nil {
				written += len(part)
				hintsFail = hintsFail || i == 1 // Postgres took the member that it had named
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	err := search(list, first)
	for err == nil && len(again) > 0 && written > 0 {
		list, again, written = again, nil, 0
		var refusal error
		if refusal, err = try(list); err == nil && refusal != nil {
			err = search(list, refusal)
		}
	}
	if err != nil {
		return err
	}
	for _, one := range again {
		refused(one, first)
	}
	return nil
}

// writeEach writes list in the open savepoint, in one piece if Postgres takes that, else by bisect.
func writeEach[T any](
	ctx context.Context, a *attempt, savepoint string, list []T,
	write func(piece []T) error, refused func(one T, refusal error),
) error {
	err := write(list)
	if err == nil || !a.isRefusal(err) {
		return err
	}
	if err := a.exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint); err != nil {
		return fmt.Errorf("go back to before a refused piece: %w", err)
	}
	return bisect(list, err, inSavepoint(ctx, a, write), refused)
}

// inSavepoint writes a piece in a savepoint of its own, which stays only if all of it was taken.
func inSavepoint[T any](
	ctx context.Context, a *attempt, write func(piece []T) error,
) func(piece []T) (refusal, err error) {
	return func(piece []T) (refusal, err error) {
		if err := a.exec(ctx, "SAVEPOINT piece"); err != nil {
			return nil, fmt.Errorf("try a piece: %w", err)
		}
		then := "RELEASE SAVEPOINT piece"
		if refusal = write(piece); refusal != nil {
			if !a.isRefusal(refusal) {
				return nil, refusal
			}
			then = "ROLLBACK TO SAVEPOINT piece; " + then
		}
		if err := a.exec(ctx, then); err != nil {
			return nil, fmt.Errorf("go on after a piece: %w", err)
		}
		return refusal, nil
	}
}

// writePieces writes rows in the open savepoint. Those that Postgres refuses, without their click
// too, become dead letters (invariant: a refused click costs the checkout neither its row nor its
// next click).
func (a *attempt) writePieces(
	ctx context.Context, savepoint string, rows []rowRef, write func(piece []rowRef) error,
) error {
	var bare []rowRef
	err := writeEach(ctx, a, savepoint, rows, write, func(r rowRef, refusal error) {
		if mayBeOfClick(refusal) && a.dropClick(r) {
			bare = append(bare, r)
			return
		}
		a.refuse(r, refusal)
	})
	if err == nil && len(bare) > 0 {
		slices.SortFunc(bare, func(a, b rowRef) int { return int(a.at - b.at) })
		err = bisect(bare, nil, inSavepoint(ctx, a, write), func(r rowRef, refusal error) {
			delete(a.withoutClick, r.Released)
			a.refuse(r, refusal)
		})
	}
	if err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

// dropClick has a row written without its click. It is false if there is none to drop.
func (a *attempt) dropClick(r rowRef) bool {
	if !r.HasClick || a.withoutClick[r.Released] {
		return false
	}
	if a.withoutClick == nil {
		a.withoutClick = map[*event.Released]bool{}
	}
	a.withoutClick[r.Released] = true
	return true
}

func (a *attempt) refuse(r rowRef, refusal error) {
	a.result.Refused++
	a.reject(r, event.ReasonRefused, whyRefused(refusal))
}

// triggerError says that something was not written although Postgres refused nothing.
type triggerError struct{ what string }

func (e *triggerError) Error() string { return e.what }

// maxRaised is how often an error that a function of the database raised is believed to be passing.
const maxRaised = 5

// isRefusal says whether an error may be due to one member of what was written. It is not if the
// error passes, if the form of the data is not what the columns' types read (22P03, 22P04), or if
// storage is damaged (XX001, XX002): these hit every row.
func (a *attempt) isRefusal(err error) bool { return isRefusal(err, a.set.raised) }

func isRefusal(err error, raised int) bool {
	var trigger *triggerError
	var pe *pgconn.PgError
	if errors.As(err, &trigger) {
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
	return !passing || raisedByFunction(err) && raised >= maxRaised
}

// raisedByFunction says that the error is a RAISE of somebody's function, which chose the SQLSTATE.
func raisedByFunction(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Routine == "exec_stmt_raise"
}

// mayBeOfClick says whether Postgres may take the row without its click. It does not if it names
// another column while it reads the row.
func mayBeOfClick(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return true
	}
	words := strings.Fields(pe.Where[strings.LastIndex(pe.Where, "\n")+1:])
	return len(words) == 0 || !slices.ContainsFunc(columns, func(c column) bool {
		return c.origin == ofCheckout && c.name == words[len(words)-1]
	})
}

// SQLSTATEs (appendix A of the Postgres manual).
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503" // another row may satisfy it
)

// sqlState is empty if the error is not one of Postgres.
func sqlState(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code
	}
	return ""
}

// whyRefused says why in words that hold no value of the row.
func whyRefused(err error) string {
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

// copyLine reads the number out of "COPY attributed_checkouts, line 3, column total_amount", in
// whatever language. It counts the rows of the COPY from 1.
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
	number := after[from:]
	if to := strings.IndexFunc(number, func(c rune) bool { return c < '0' || c > '9' }); to >= 0 {
		number = number[:to]
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n > 0
}
