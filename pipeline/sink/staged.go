package sink

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"firstclick/join"
)

// writeStaged copies rows to the temporary table, compares those whose checkout_id has a row with that row, and inserts the others. The
// ordinal of a row is its index in rows, so that of several with one checkout_id the first is the one inserted. Comparing comes first because
// this way is taken where most rows are duplicates.
func (t *try) writeStaged(ctx context.Context, rows []entry) error {
	left, err := t.copyRows(ctx, rows, func(piece []entry) error {
		first := 0
		if len(piece) > 0 {
			first = slices.IndexFunc(rows, func(e entry) bool { return e.row == piece[0].row })
		}
		_, err := t.copyPiece(ctx, t.target.copyStage, piece, &first)
		return err
	})
	if err != nil {
		return err
	}
	n := len(rows)
	st := &staging{try: t, rows: rows, open: newMask(n), known: newMask(n), inserted: newMask(n)}
	st.openOnly(left)
	if err := st.compare(ctx); err != nil {
		return err
	}
	for {
		heads := st.heads()
		if len(heads) == 0 {
			break
		}
		if err := st.insert(ctx, heads); err != nil {
			return err
		}
		// What was not inserted met a row that another transaction had just written, or a trigger keeps it out: then another with its checkout_id may
		// take its place.
		if err := st.compare(ctx); err != nil {
			return err
		}
		st.keptOut(heads)
	}
	t.settleFresh(st.fresh())
	return nil
}

// keptOut refuses heads that are not in the table, nor another row in their place. One that has a
// click is tried without it first.
func (st *staging) keptOut(heads []int) {
	for _, i := range heads {
		if st.open.has(i) && !st.known.has(i) && !st.inserted.has(i) {
			if e := st.rows[i]; e.row.HasClick && !st.bare[e.row] {
				st.strip(e)
				continue
			}
			st.open.clear(i)
			st.refuse(st.rows[i], "Postgres took it, and there is no row: a trigger of commerce.attributed_checkouts keeps it out or changes its checkout_id")
		}
	}
}

// staging follows the rows of the temporary table; masks are by ordinal.
type staging struct {
	*try
	rows     []entry
	open     mask // not refused
	known    mask // compared with the row of its checkout_id
	inserted mask
}

// mask is a set of ordinals as get_bit reads it: bit n is bit n%8 of byte n/8, the least significant first.
type mask []byte

func newMask(n int) mask      { return make(mask, (n+7)/8) }
func (m mask) has(i int) bool { return m[i/8]>>(i%8)&1 == 1 }
func (m mask) set(i int)      { m[i/8] |= 1 << (i % 8) }
func (m mask) clear(i int)    { m[i/8] &^= 1 << (i % 8) }
func (m mask) empty() bool    { return !slices.ContainsFunc(m, func(b byte) bool { return b != 0 }) }
func (m mask) add(o mask) {
	for i := range m {
		m[i] |= o[i]
	}
}
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
			stands = stands || st.known.has(j) || st.inserted.has(j)
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

// insert inserts the heads. Rows that the table refuses, which the temporary one did not (a check, a trigger), are found by halves.
func (st *staging) insert(ctx context.Context, heads []int) error {
	write := func(piece []int) error { return st.insertPiece(ctx, piece) }
	if _, err := st.conn.Exec(ctx, "SAVEPOINT heads", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("insert rows: %w", err)
	}
	err := write(heads)
	if err != nil && st.ofRows(err) {
		if _, err := st.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT heads", pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("go back to before a refused row: %w", err)
		}
		ordinals := make(map[*Row]int, len(heads))
		entries := make([]entry, len(heads))
		for i, ord := range heads {
			entries[i], ordinals[st.rows[ord].row] = st.rows[ord], ord
		}
		err = st.halveRows(ctx, entries, err, func(piece []entry) error {
			ords := make([]int, len(piece))
			for i, e := range piece {
				ords[i] = ordinals[e.row]
			}
			return write(ords)
		}, func(e entry, why string) {
			st.open.clear(ordinals[e.row])
			st.refuse(e, why)
		})
	}
	if err != nil {
		return fmt.Errorf("insert rows: %w", err)
	}
	return nil
}

// insertPiece inserts the rows of the ordinals, and marks those that were: they come back in order.
func (st *staging) insertPiece(ctx context.Context, ords []int) error {
	m, bare, inserted := newMask(len(st.rows)), newMask(len(st.rows)), newMask(len(st.rows))
	for _, i := range ords {
		m.set(i)
		if st.bare[st.rows[i].row] {
			bare.set(i)
		}
	}
	rows, err := st.conn.Query(ctx, st.target.insertStage, []byte(m), []byte(bare))
	if err != nil {
		return err
	}
	defer rows.Close()
	for at := 0; rows.Next(); at++ {
		id := rows.RawValues()[0]
		for at < len(ords) && !st.returned(ords[at], id) {
			at++
		}
		if at == len(ords) {
			return &meddledError{"a trigger of commerce.attributed_checkouts changes its checkout_id"}
		}
		inserted.set(ords[at])
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := st.checkDeferred(ctx); err != nil {
		return err
	}
	st.inserted.add(inserted)
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
		if (v.better || st.bare[e.row]) && !e.row.Final {
			st.clickAgain(e)
		}
	}
	return nil
}
