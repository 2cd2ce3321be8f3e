package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"firstclick/join"
)

// writeStaged copies rows to the temporary table, compares those whose checkout_id has a row with that row, and inserts the others. The
// ordinal of a row is its index in rows, so that of several with one checkout_id the first is the one inserted. Comparing comes first because
// this way is taken where most rows are duplicates.
func (t *try) writeStaged(ctx context.Context, rows []entry) error {
	left, err := t.copyRows(ctx, t.target.copyStage, rows, true)
	if err != nil {
		return err
	}
	n := len(rows)
	st := &staging{try: t, rows: rows, open: newMask(n), known: newMask(n), tried: newMask(n), inserted: newMask(n)}
	st.openOnly(left)
	if err := st.compare(ctx); err != nil {
		return err
	}
	for again := true; again; {
		heads := st.heads()
		if len(heads) == 0 {
			break
		}
		if again, err = st.insert(ctx, heads); err != nil {
			return err
		}
	}
	t.settleFresh(st.fresh())
	// What is left met a row that another transaction had just written, or one of this.
	if err := st.compare(ctx); err != nil {
		return err
	}
	// A row without a verdict met one that was deleted since, or a trigger keeps it out: a duplicate of what is gone.
	for i := range st.rows {
		if st.open.has(i) && !st.known.has(i) && !st.inserted.has(i) {
			t.out.result.Duplicates++
		}
	}
	return nil
}

// staging follows the rows of the temporary table; masks are by ordinal.
type staging struct {
	*try
	rows     []entry
	open     mask // not refused
	known    mask // compared with the row of its checkout_id
	tried    mask // heads whose insertion was not refused
	inserted mask
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

// openOnly opens the rows that are also in left, which is in the same order.
func (st *staging) openOnly(left []entry) {
	for i, j := 0, 0; i < len(st.rows) && j < len(left); i++ {
		if st.rows[i].row == left[j].row {
			st.open.set(i)
			j++
		}
	}
}

// heads are the first open rows of the checkout_ids that have no row yet.
func (st *staging) heads() []int {
	var heads []int
	for i := 0; i < len(st.rows); {
		head, stands := -1, false
		j := i
		for ; j < len(st.rows) && (j == i || sameID(st.rows[i], st.rows[j])); j++ {
			stands = stands || st.known.has(j) || st.tried.has(j)
			if head < 0 && st.open.has(j) {
				head = j
			}
		}
		if head >= 0 && !stands {
			heads = append(heads, head)
		}
		i = j
	}
	return heads
}

// insert inserts the heads. Rows that the table refuses, which the temporary one did not (a check, a trigger), are found by halves. again says
// that some were, so that others of the same checkout_id may take their place.
func (st *staging) insert(ctx context.Context, heads []int) (again bool, err error) {
	write := func(piece []int) error { return st.insertPiece(ctx, piece) }
	err = byHalves(ctx, st.conn, [][]int{heads}, write, func(ord int, pe *pgconn.PgError) {
		st.open.clear(ord)
		st.refuse(st.rows[ord], pe)
		again = true
	})
	if err != nil {
		return false, fmt.Errorf("insert rows: %w", err)
	}
	return again, nil
}

// insertPiece inserts the rows of the ordinals, and marks those that were: they come back in order.
func (st *staging) insertPiece(ctx context.Context, ords []int) error {
	m := newMask(len(st.rows))
	for _, i := range ords {
		m.set(i)
	}
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
	for _, i := range ords {
		st.tried.set(i)
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

// compare tells duplicates from conflicts among the open rows that were neither inserted nor compared before.
func (st *staging) compare(ctx context.Context) error {
	m := slices.Clone(st.open)
	m.without(st.inserted)
	m.without(st.known)
	if m.empty() {
		return nil
	}
	type verdict struct {
		ord      int32
		differs  string
		better   bool
		nameless bool
	}
	rows, err := st.conn.Query(ctx, st.target.compare, []byte(m))
	if err != nil {
		return fmt.Errorf("compare duplicates: %w", err)
	}
	var v verdict
	var verdicts []verdict
	_, err = pgx.ForEachRow(rows, []any{&v.ord, &v.differs, &v.better, &v.nameless}, func() error {
		verdicts = append(verdicts, v)
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare duplicates: %w", err)
	}
	slices.SortFunc(verdicts, func(a, b verdict) int { return int(a.ord - b.ord) })
	for _, v := range verdicts {
		st.known.set(int(v.ord))
		e := st.rows[v.ord]
		if v.differs != "" {
			st.out.result.Conflicts++
			st.reject(e, join.ReasonConflict, conflictDetail(v.differs))
			continue
		}
		st.out.result.Duplicates++
		if v.nameless { // another job's row, or one whose note was lost with schema firstclick; a note that is there stays as it is
			st.out.unknown = append(st.out.unknown, e)
		}
		if v.better && !e.row.Final {
			st.out.corrected = append(st.out.corrected, Correction{Checkout: e.row.ID, Click: e.row.Click, ClickTime: e.row.ClickTime})
		}
	}
	return nil
}
