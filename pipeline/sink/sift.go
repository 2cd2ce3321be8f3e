package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// writeSifted is the way where duplicates are known or common: it copies the first row of each checkout_id that is not familiar straight into the
// table, and lets only what remains go through the temporary one, where each is compared with its row. Where familiarity has failed of late it asks
// Postgres as well which checkout_ids have a row.
//
// A transaction that has not landed yet may hold one of the ids, and we would wait for it, or it for us. So transactions of this kind take turns (see
// turn): those that ask with all they do, the others with what goes through the temporary table, for what they copy straight nobody else has. One of
// another instance may still come between, and then all rows go through the temporary table.
func (t *try) writeSifted(ctx context.Context) error {
	fresh, others, err := t.sift(ctx)
	if err != nil && t.ofRows(err) { // an id that the database's encoding cannot hold: its row is found there
		return t.stageAgain(ctx, t.work.rows)
	}
	if err != nil {
		return err
	}
	left := fresh
	if len(fresh) > 0 {
		left, err = t.copyFresh(ctx, fresh)
	}
	switch {
	case errors.Is(err, errMet):
		return t.stageAgain(ctx, without(t.work.rows, fresh, left))
	case err != nil:
		return err
	}
	t.settleFresh(left)
	if len(others) == 0 {
		return nil
	}
	if err := t.work.turn.wait(ctx, t.sink.clock.After(turnWithin)); err != nil {
		return err
	}
	// What the temporary table refuses must not undo what was copied.
	if _, err := t.conn.Exec(ctx, "SAVEPOINT rows", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("keep the rows copied: %w", err)
	}
	return t.writeStaged(ctx, others)
}

// stageAgain goes back to before the rows and lets them all go through the temporary table. By the simple protocol: a failed transaction
// takes nothing else before it is rolled back.
func (t *try) stageAgain(ctx context.Context, rows []entry) error {
	t.out.staged = true
	back := "ROLLBACK TO SAVEPOINT rows; " + t.target.stage + "; SAVEPOINT rows"
	if _, err := t.conn.Exec(ctx, back, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("go back to before the rows: %w", err)
	}
	return t.writeStaged(ctx, rows)
}

// sift parts the rows, each part in order: those whose checkout_id is thought to have no row, and the others.
func (t *try) sift(ctx context.Context) (fresh, others []entry, err error) {
	other := slices.Clone(t.work.known)
	if t.work.asks {
		if err := t.ask(ctx, other); err != nil {
			return nil, nil, fmt.Errorf("ask which rows stand: %w", err)
		}
	}
	for i, e := range t.work.rows {
		if other.has(i) {
			others = append(others, e)
		} else {
			fresh = append(fresh, e)
		}
	}
	return fresh, others, nil
}

// ask adds to other the rows whose checkout_id has a row.
func (t *try) ask(ctx context.Context, other mask) error {
	var ids []string
	var asked []int
	for i, e := range t.work.rows {
		if !other.has(i) {
			ids, asked = append(ids, string(ownID(e.row.Own))), append(asked, i)
		}
	}
	answer, err := t.conn.Query(ctx, t.target.known, ids)
	if err != nil {
		return err
	}
	var ord int64
	_, err = pgx.ForEachRow(answer, []any{&ord}, func() error {
		other.set(asked[ord-1])
		t.out.met = true
		return nil
	})
	return err
}

// without leaves out of all the rows of some that are not in left, which is in the same order.
func without(all, some, left []entry) []entry {
	if len(some) == len(left) {
		return all
	}
	gone := map[*Row]bool{}
	for i, j := 0, 0; i < len(some); i++ {
		if j < len(left) && some[i].row == left[j].row {
			j++
		} else {
			gone[some[i].row] = true
		}
	}
	var kept []entry
	for _, e := range all {
		if !gone[e.row] {
			kept = append(kept, e)
		}
	}
	return kept
}
