package sink

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/jackc/pgx/v5"

	"firstclick/join/event"
)

// split parts the rows, each part in order: those whose checkout_id probably has no row, and those
// whose checkout_id probably has one. If the last commits had many unforeseen duplicates, it looks
// up in Postgres which exist.
func (a *attempt) split(ctx context.Context) (fresh, likely []rowRef, err error) {
	if a.set.ticket == nil {
		return a.set.rows, nil, nil
	}
	existing := newMask(len(a.set.rows))
	if a.set.lookUp {
		unlikely := slices.DeleteFunc(slices.Clone(a.set.rows), a.set.likely.has)
		err := a.lookUp(ctx, unlikely, existing)
		// The database's encoding cannot hold one of the ids. writeStaged finds its row.
		if err != nil && a.isRefusal(err) {
			return nil, nil, errDuplicate
		}
		if err != nil {
			return nil, nil, fmt.Errorf("look up which rows exist: %w", err)
		}
		a.result.unforeseen = existing.count() > 0
	}
	for _, r := range a.set.rows {
		if a.set.likely.has(r) || existing.has(r) {
			likely = append(likely, r)
		} else {
			fresh = append(fresh, r)
		}
	}
	return fresh, likely, nil
}

// lookUp marks the rows whose checkout_id is in the table.
func (a *attempt) lookUp(ctx context.Context, rows []rowRef, existing mask) error {
	ids := list(rows, func(r rowRef) string { return string(r.IDText()) })
	found, _ := a.conn.Query(ctx, a.target.existing, ids) // ForEachRow returns its error
	var ordinal int64                                     // from 1
	_, err := pgx.ForEachRow(found, []any{&ordinal}, func() error {
		existing.set(rows[ordinal-1])
		return nil
	})
	return err
}

// mask is a set of rows by their place in commitSet.rows, as get_bit reads it: bit n is bit n%8 of
// byte n/8, the least significant first.
type mask []byte

func newMask(n int) mask         { return make(mask, (n+7)/8) }
func (m mask) has(r rowRef) bool { return m[r.at/8]>>(r.at%8)&1 == 1 }
func (m mask) set(r rowRef)      { m[r.at/8] |= 1 << (r.at % 8) }
func (m mask) count() (count int) {
	for _, b := range m {
		count += bits.OnesCount8(b)
	}
	return count
}

// staging follows the rows of the temporary table.
type staging struct {
	*attempt
	rows     []rowRef
	compared mask // with the row of their checkout_id
	inserted mask
}

// writeStaged copies rows to the temporary table, compares those whose checkout_id has a row with
// that row, and inserts the others. Of several with one checkout_id it inserts the first. It
// compares first, because most rows that come this way are duplicates.
func (a *attempt) writeStaged(ctx context.Context, rows []rowRef) error {
	err := a.writePieces(ctx, "rows", rows, func(piece []rowRef) error {
		_, err := a.copy(ctx, a.target.copyStage, piece, true)
		return err
	})
	if err != nil {
		return err
	}
	st := &staging{attempt: a, rows: rows, compared: newMask(len(a.set.rows)), inserted: newMask(len(a.set.rows))}
	if err := st.compare(ctx); err != nil {
		return err
	}
	for heads := st.heads(); len(heads) > 0; heads = st.heads() {
		if err := a.exec(ctx, "SAVEPOINT heads"); err != nil {
			return fmt.Errorf("insert rows: %w", err)
		}
		// The table may refuse rows that the temporary one did not (a check, a trigger).
		err := a.writePieces(ctx, "heads", heads, func(piece []rowRef) error { return st.insert(ctx, piece) })
		if err != nil {
			return err
		}
		// A row that is not inserted is a duplicate of one that another transaction has just
		// written, or a trigger keeps it out. Then another row with its checkout_id may be
		// inserted.
		if err := st.compare(ctx); err != nil {
			return err
		}
		for _, r := range heads {
			if a.result.rejected[r.Released] || st.compared.has(r) || st.inserted.has(r) {
				continue
			}
			if a.dropClick(r) { // it is tried once more
				continue
			}
			a.refuse(r, &triggerError{"Postgres took it, and there is no row: " +
				"a trigger of commerce.attributed_checkouts keeps it out or changes its checkout_id"})
		}
	}
	a.countFresh(slices.DeleteFunc(slices.Clone(rows), func(r rowRef) bool { return !st.inserted.has(r) }))
	return nil
}

// heads are the first rows, of those that are not rejected, of the checkout_ids that have no row
// yet.
func (st *staging) heads() (heads []rowRef) {
	for i := 0; i < len(st.rows); {
		first, exists := i, false
		var head *rowRef
		for ; i < len(st.rows) && sameID(st.rows[first], st.rows[i]); i++ {
			r := &st.rows[i]
			exists = exists || st.compared.has(*r) || st.inserted.has(*r)
			if head == nil && !st.result.rejected[r.Released] {
				head = r
			}
		}
		if head != nil && !exists {
			heads = append(heads, *head)
		}
	}
	return heads
}

// insert inserts rows from the temporary table, and marks those that were inserted: they come back
// in order.
func (st *staging) insert(ctx context.Context, piece []rowRef) error {
	wanted, withoutClick, inserted := newMask(len(st.set.rows)), newMask(len(st.set.rows)), newMask(len(st.set.rows))
	for _, r := range piece {
		wanted.set(r)
		if st.withoutClick[r.Released] {
			withoutClick.set(r)
		}
	}
	rows, err := st.conn.Query(ctx, st.target.insertStage, []byte(wanted), []byte(withoutClick))
	if err != nil {
		return err
	}
	defer rows.Close()
	for at := 0; rows.Next(); at++ {
		returned := rows.RawValues()[0]
		for ; at < len(piece); at++ {
			id := piece[at].IDText()
			if st.target.padded {
				id = bytes.TrimRight(id, " ")
			}
			if bytes.Equal(id, returned) {
				break
			}
		}
		if at == len(piece) {
			return &triggerError{"a trigger of commerce.attributed_checkouts changes its checkout_id"}
		}
		inserted.set(piece[at])
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := st.checkDeferred(ctx); err != nil {
		return err
	}
	for i := range inserted {
		st.inserted[i] |= inserted[i]
	}
	return nil
}

// compare tells duplicates from conflicts among the rows that are neither rejected nor inserted nor
// compared yet.
func (st *staging) compare(ctx context.Context) error {
	open := newMask(len(st.set.rows))
	for _, r := range st.rows {
		if !st.result.rejected[r.Released] && !st.inserted.has(r) && !st.compared.has(r) {
			open.set(r)
		}
	}
	if open.count() == 0 {
		return nil
	}
	type comparison struct {
		At      int32
		Differs string // the columns that differ
		Better  bool   // its click is less than the stored one
		Unnamed bool   // the stored row has no name
	}
	found, _ := st.conn.Query(ctx, st.target.compare, []byte(open)) // CollectRows returns its error
	comparisons, err := pgx.CollectRows(found, pgx.RowToStructByPos[comparison])
	if err != nil {
		return fmt.Errorf("compare duplicates: %w", err)
	}
	slices.SortFunc(comparisons, func(a, b comparison) int { return int(a.At - b.At) })
	for _, c := range comparisons {
		r := st.set.rows[c.At]
		st.compared.set(r)
		if c.Differs != "" {
			st.result.Conflicts++
			st.reject(r, event.ReasonConflict, "another row stands under this checkout_id; different: "+c.Differs)
			continue
		}
		st.result.Duplicates++
		// Another job's row, or one whose note was lost with schema firstclick. A note that is
		// there stays as it is.
		if c.Unnamed {
			st.result.unnamed = append(st.result.unnamed, r)
		}
		if (c.Better || st.withoutClick[r.Released]) && !r.Final {
			st.assertClick(r)
		}
	}
	return nil
}
