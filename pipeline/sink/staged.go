package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"firstclick/join"
)

// writeStaged copies rows to the temporary table, inserts those whose checkout_id has no row, and compares the others with the row that
// stands. The ordinal of a row is its index in rows, so that of several with one checkout_id the first is the one inserted.
func (t *try) writeStaged(ctx context.Context, rows []entry) error {
	before := len(t.out.letters)
	left, err := t.copyRows(ctx, t.target.copyStage, rows, true)
	if err != nil {
		return err
	}
	st := &staging{try: t, rows: rows, open: newMask(len(rows)), inserted: newMask(len(rows))}
	if len(t.out.letters) == before {
		st.open.setAll(len(rows))
	} else {
		st.openOnly(left)
	}
	for {
		heads := st.heads()
		if heads.empty() {
			break
		}
		again, err := st.insert(ctx, heads)
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	t.settleFresh(st.fresh())
	return st.compare(ctx)
}

// staging follows the rows of the temporary table; masks are by ordinal.
type staging struct {
	*try
	rows     []entry
	open     mask // not refused
	inserted mask
	tried    mask // heads that were inserted or met a row
}

// mask is a set of ordinals as get_bit reads it: bit n is bit n%8 of byte n/8, the least significant first.
type mask []byte

func newMask(n int) mask      { return make(mask, (n+7)/8) }
func (m mask) has(i int) bool { return m[i/8]>>(i%8)&1 == 1 }
func (m mask) set(i int)      { m[i/8] |= 1 << (i % 8) }
func (m mask) clear(i int)    { m[i/8] &^= 1 << (i % 8) }
func (m mask) empty() bool    { return !slices.ContainsFunc(m, func(b byte) bool { return b != 0 }) }
func (m mask) without(o mask) {
	for i := range m {
		m[i] &^= o[i]
	}
}
func (m mask) setAll(n int) {
	for i := range n {
		m.set(i)
	}
}

// openOnly opens the rows that are also in left, which is in the same order.
func (st *staging) openOnly(left []entry) {
	for i, j := 0, 0; i < len(st.rows) && j < len(left); i++ {
		if st.rows[i].row == left[j].row {
			st.open.set(i)
			j++
		}
	}
}

// heads are the first open row of each checkout_id, where none of that id has been tried.
func (st *staging) heads() mask {
	heads := newMask(len(st.rows))
	if st.tried == nil {
		st.tried = newMask(len(st.rows))
	}
	for i := 0; i < len(st.rows); {
		head, tried := -1, false
		j := i
		for ; j < len(st.rows) && (j == i || sameID(st.rows[i], st.rows[j])); j++ {
			tried = tried || st.tried.has(j)
			if head < 0 && st.open.has(j) {
				head = j
			}
		}
		if head >= 0 && !tried {
			heads.set(head)
		}
		i = j
	}
	return heads
}

// insert inserts the heads. Rows that the table refuses, which the temporary one did not (a check, a trigger), are found by halves. again says
// that some were, so that others of the same checkout_id may take their place.
func (st *staging) insert(ctx context.Context, heads mask) (again bool, err error) {
	var ords []int
	for i := range st.rows {
		if heads.has(i) {
			ords = append(ords, i)
		}
	}
	pieces := [][]int{ords}
	for len(pieces) > 0 {
		piece := pieces[len(pieces)-1]
		pieces = pieces[:len(pieces)-1]
		m := newMask(len(st.rows))
		for _, i := range piece {
			m.set(i)
		}
		err := st.insertPiece(ctx, piece, m)
		pe, refused := refuses(err)
		switch {
		case err == nil:
			for _, i := range piece {
				st.tried.set(i)
			}
			continue
		case !refused:
			return false, fmt.Errorf("insert rows: %w", err)
		}
		if _, err := st.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece", pgx.QueryExecModeSimpleProtocol); err != nil {
			return false, fmt.Errorf("go back to before a refused row: %w", err)
		}
		if len(piece) == 1 {
			st.open.clear(piece[0])
			st.refuse(st.rows[piece[0]], pe)
			again = true
			continue
		}
		half := len(piece) / 2
		pieces = append(pieces, piece[half:], piece[:half])
	}
	return again, nil
}

// insertPiece inserts the rows of the ordinals, and marks those that were: they come back in order.
func (st *staging) insertPiece(ctx context.Context, ords []int, m mask) error {
	var b pgx.Batch
	b.Queue("SAVEPOINT piece")
	b.Queue(st.target.insertStage, []byte(m))
	b.Queue("RELEASE SAVEPOINT piece")
	results := st.conn.SendBatch(ctx, &b)
	defer results.Close()
	if _, err := results.Exec(); err != nil {
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	at := 0
	for rows.Next() {
		id := rows.RawValues()[0]
		for at < len(ords) && !st.returned(ords[at], id) {
			at++
		}
		if at == len(ords) {
			rows.Close()
			return errors.New("commerce.attributed_checkouts gave back another checkout_id than was inserted: does a trigger change it?")
		}
		st.inserted.set(ords[at])
		at++
	}
	if err := rows.Err(); err != nil {
		st.inserted.without(m)
		return err
	}
	if err := results.Close(); err != nil {
		st.inserted.without(m)
		return err
	}
	return nil
}

func (st *staging) returned(ord int, id []byte) bool {
	own := ownID(st.rows[ord].row.Own)
	if st.target.padded {
		own = bytes.TrimRight(own, " ")
	}
	return bytes.Equal(own, id)
}

func (st *staging) fresh() []entry {
	var out []entry
	for i, e := range st.rows {
		if st.inserted.has(i) {
			out = append(out, e)
		}
	}
	return out
}

// compare tells duplicates from conflicts among the rows that were not inserted.
func (st *staging) compare(ctx context.Context) error {
	m := slices.Clone(st.open)
	m.without(st.inserted)
	if m.empty() {
		return nil
	}
	st.out.met = true
	type verdict struct {
		Ord     int
		Differs []string
		Better  bool
	}
	rows, err := st.conn.Query(ctx, st.target.compare, []byte(m))
	if err != nil {
		return fmt.Errorf("compare duplicates: %w", err)
	}
	verdicts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[verdict])
	if err != nil {
		return fmt.Errorf("compare duplicates: %w", err)
	}
	// A row without a verdict stood a moment ago and was deleted since, or a trigger keeps it out: a duplicate of what is gone.
	for _, v := range verdicts {
		m.clear(v.Ord)
	}
	for i := range st.rows {
		if m.has(i) {
			st.out.result.Duplicates++
		}
	}
	slices.SortFunc(verdicts, func(a, b verdict) int { return a.Ord - b.Ord })
	for _, v := range verdicts {
		e := st.rows[v.Ord]
		if len(v.Differs) > 0 {
			st.out.result.Conflicts++
			st.reject(e, join.ReasonConflict, conflictDetail(v.Differs))
			continue
		}
		st.out.result.Duplicates++
		if v.Better {
			st.out.corrected = append(st.out.corrected, Correction{Checkout: e.row.ID, Click: e.row.Click, ClickTime: e.row.ClickTime})
		}
	}
	return nil
}
