package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrTable says that a table that was named cannot be used as it was to be.
var ErrTable = errors.New("table")

// rowsTable is the table that firstclick writes.
const rowsTable = "commerce.attributed_checkouts"

// column is how Postgres stores a column. Comparisons are of what the type makes of a value.
type column struct {
	kind  columnKind
	limit int // characters of varchar(n) and char(n), digits of numeric(p,s); 0: any
	scale int // of numeric(p,s); digits of timestamp(p)
}

type columnKind int

const (
	columnText columnKind = iota // varchar, text, and whatever else there is: compared as text
	columnPadded
	columnNumeric
	columnFloat4
	columnFloat8
	columnTime
)

type columns map[string]column

// lookUpTable finds a table or view by the rules by which Postgres reads names. It gives the columns,
// and the name as SQL. An ErrTable says that there is none, or that the name is none.
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

// columnOf decodes a type modifier as Postgres' own functions do (numerictypmodout, varchartypmodout).
func columnOf(kind string, mod int) column {
	switch kind {
	case "varchar":
		return column{kind: columnText, limit: max(0, mod-4)}
	case "bpchar":
		return column{kind: columnPadded, limit: max(0, mod-4)}
	case "numeric":
		if mod < 4 {
			return column{kind: columnNumeric}
		}
		return column{kind: columnNumeric, limit: (mod - 4) >> 16 & 0xffff, scale: ((mod-4)&0x7ff ^ 1024) - 1024}
	case "float4":
		return column{kind: columnFloat4}
	case "float8":
		return column{kind: columnFloat8}
	case "timestamp", "timestamptz":
		if mod < 0 {
			mod = 6
		}
		return column{kind: columnTime, scale: mod}
	default:
		return column{kind: columnText}
	}
}

// stored is what the column makes of a text. Postgres cuts blanks off a text that is too long, and
// refuses it if anything else is too much.
func (c column) stored(s string) string {
	if c.limit > 0 && utf8.RuneCountInString(s) > c.limit {
		if cut := firstRunes(s, c.limit); strings.Trim(s[len(cut):], " ") == "" {
			s = cut
		}
	}
	if c.kind == columnPadded {
		s = strings.TrimRight(s, " ")
	}
	return s
}

// firstRunes gives the first n characters of a text that has so many.
func firstRunes(s string, n int) string {
	cut := 0
	for range n {
		_, size := utf8.DecodeRuneInString(s[cut:])
		cut += size
	}
	return s[:cut]
}

// unit is what the column holds a time to, in microseconds.
func (c column) unit() int64 {
	if c.kind != columnTime {
		return 1
	}
	return int64(math.Pow10(6 - c.scale))
}

// storedTime rounds microseconds as timestamp(p) does, halves up (times here are after 1970).
func (c column) storedTime(micros int64) int64 {
	unit := c.unit()
	if unit <= 1 {
		return micros
	}
	return (micros + unit/2) / unit * unit
}

func (c column) storedClick(k click) click {
	k.time = c.storedTime(k.time)
	return k
}

// equal compares a record's value with what the column holds.
func (c column) equal(wire, there optional) bool {
	if !wire.valid || !there.valid {
		return wire.valid == there.valid
	}
	switch c.kind {
	case columnNumeric:
		w, okW := parseDecimal(wire.text)
		t, okT := parseDecimal(there.text)
		if c.limit > 0 && okW {
			w = w.round(c.scale)
		}
		return okW && okT && w.equal(t)
	case columnFloat4, columnFloat8:
		bits := 64
		if c.kind == columnFloat4 {
			bits = 32
		}
		w, errW := strconv.ParseFloat(wire.text, bits)
		t, errT := strconv.ParseFloat(there.text, bits)
		return errW == nil && errT == nil && w == t
	default:
		return c.stored(wire.text) == c.stored(there.text)
	}
}

// differing names the first own column in which the row is not what the checkout would be stored as;
// name is "" if there is none.
func (cs columns) differing(row *item, k event) (name, want, there string) {
	for i, c := range ownColumns {
		if !cs[c.name].equal(k.values[i], row.values[i]) {
			return c.name, k.values[i].String(), row.values[i].String()
		}
	}
	at := cs["checkout_time"].storedTime(k.time)
	switch {
	case row.flags&flagTimed == 0:
		return "checkout_time", formatTime(at), "NULL"
	case row.time != at:
		return "checkout_time", formatTime(at), formatTime(row.time)
	}
	return "", "", ""
}

// describeRow shows what a row says of time and click.
func describeRow(row *item) string {
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
func readRows(ctx context.Context, tx pgx.Tx, sql string, args []any, fn func(row *item) error) error {
	rows, err := tx.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rowOf(rows.RawValues())); err != nil {
			return err
		}
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

// microsOf reads a binary timestamp, microseconds since 2000-01-01. Infinity stays at the ends of the scale.
func microsOf(value []byte) int64 {
	const epoch2000 = 946_684_800_000_000
	v := int64(binary.BigEndian.Uint64(value))
	if v > math.MaxInt64-epoch2000 {
		return math.MaxInt64
	}
	return v + epoch2000
}
