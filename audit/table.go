package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrTable says that the named table cannot be used.
var ErrTable = errors.New("table")

// rowsTable is the table that firstclick writes.
const rowsTable = "commerce.attributed_checkouts"

// lookUpTable finds a table or view as Postgres reads names. It gives the columns, and the name as
// SQL. It returns ErrTable if there is no such table, or if the name is not valid.
func lookUpTable(ctx context.Context, tx pgx.Tx, table string) (columns, string, error) {
	found := columns{}
	var schema, name, column, kind string
	var mod int
	err := each(ctx, tx, "look up table "+quote(table), []any{&schema, &name, &column, &kind, &mod}, func() error {
		found[column] = columnOf(kind, mod)
		return nil
	}, `
		SELECT n.nspname::text, c.relname::text, a.attname::text, coalesce(b.typname, t.typname)::text,
		       CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE c.oid = to_regclass($1)`, table)
	var answer *pgconn.PgError
	switch {
	case errors.As(err, &answer) && slices.Contains([]string{"42602", "42601", "0A000"}, answer.Code):
		return nil, "", fmt.Errorf("%w %s: %s", ErrTable, quote(table), answer.Message)
	case err != nil:
		return nil, "", err
	case len(found) == 0:
		return nil, "", fmt.Errorf("%w %s does not exist", ErrTable, table)
	}
	return found, pgx.Identifier{schema, name}.Sanitize(), nil
}

// rowText shows what a row says of time and click.
func rowText(row *item) string {
	when := "NULL"
	if row.flags&flagTimed != 0 {
		when = formatTime(row.time)
	}
	return "checkout_time " + when + ", " + row.click.String()
}

func formatTime(micros int64) string {
	return time.UnixMicro(micros).UTC().Format("2006-01-02 15:04:05.999999")
}

// selectRows is the SELECT for readRows. Without own it leaves out user_name and ownColumns, and
// checkout_time where the table has none. text is how a text is selected.
func selectRows(cs columns, table string, own bool, text func(column string) string) string {
	list := []string{"checkout_id::text", text("click_id"), "click_time::timestamp", "NULL::timestamp"}
	if _, ok := cs["checkout_time"]; ok || own {
		list[3] = "checkout_time::timestamp"
	}
	if own {
		list = append(list, text("user_name"))
		for _, c := range ownColumns {
			list = append(list, text(c.name))
		}
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + table
}

func asText(column string) string { return column + "::text" }

// readRows gives the rows of a selectRows, in no order: the server's disk is not ours to sort on.
func readRows(ctx context.Context, tx pgx.Tx, sql string, args []any, fn func(row *item)) error {
	rows, err := tx.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		fn(rowOf(rows.RawValues()))
	}
	return rows.Err()
}

// rowOf takes over the columns of a selectRows, in binary.
func rowOf(raw [][]byte) *item {
	text := func(value []byte) optional { return optional{string(value), value != nil} }
	row := &item{kind: kindRow, flags: flagRow}
	row.id = string(raw[0])
	if raw[1] != nil {
		row.click.id, row.click.set = string(raw[1]), hasID
	}
	if raw[2] != nil {
		row.click.time, row.click.set = microsOf(raw[2]), row.click.set|hasTime
	}
	if raw[3] != nil {
		row.time, row.flags = microsOf(raw[3]), row.flags|flagTimed
	}
	if len(raw) == 4 {
		return row
	}
	row.name = text(raw[4])
	for _, value := range raw[5:] {
		row.values = append(row.values, text(value))
	}
	return row
}

// microsOf reads a binary timestamp, microseconds since 2000-01-01. Infinity stays at the ends of
// the scale.
func microsOf(value []byte) int64 {
	const epoch2000 = 946_684_800_000_000
	v := int64(binary.BigEndian.Uint64(value))
	if v > math.MaxInt64-epoch2000 {
		return math.MaxInt64
	}
	return v + epoch2000
}
