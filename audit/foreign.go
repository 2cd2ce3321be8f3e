package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrTable says that a table that was named cannot be used as it was to be.
var ErrTable = errors.New("table")

// attributed is a row of any table of attributed checkouts, as far as it says which click a checkout has.
type attributed struct {
	id    string
	there bool
	click winner
	odd   bool // click_id and click_time are not both NULL or both set
	time  int64
	timed bool // there is a checkout_time
}

func (r attributed) append(b []byte) []byte {
	b = append(appendText(b, r.id), bit(r.there)|bit(r.odd)<<1)
	return appendMaybeInt64(r.click.append(b), r.time, r.timed)
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func parseAttributed(f fields) (r attributed) {
	r.id = f.text()
	flags := f.byte()
	r.there, r.odd = flags&1 != 0, flags&2 != 0
	r.click = f.winner()
	r.time, r.timed = f.maybeInt64()
	return r
}

// readForeign copies the columns that matter of a table into the sort of rows, by checkout_id.
func (a *audit) readForeign(ctx context.Context, tx pgx.Tx, table string) error {
	s := &a.snap
	s.rows = a.sorter("rows")
	columns, name, err := foreignColumns(ctx, tx, table)
	if err != nil {
		return err
	}
	s.columns = columns
	when := "NULL::timestamp"
	if _, ok := columns["checkout_time"]; ok {
		when = "checkout_time::timestamp"
	}
	a.progress.phase("rows of " + table)
	in, out := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := tx.Conn().PgConn().CopyTo(ctx, out, `COPY (SELECT checkout_id::text, click_id::text, click_time::timestamp, `+when+
			` FROM `+name+`) TO STDOUT (FORMAT binary)`)
		_ = out.CloseWithError(err) // never fails
		copied <- err
	}()
	parseErr := a.parseForeign(bufio.NewReaderSize(in, 256<<10))
	_ = in.CloseWithError(errors.Join(parseErr, io.ErrClosedPipe)) // never fails
	err = <-copied
	if parseErr != nil {
		err = parseErr // it is what ended the other, or came of it
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return s.rows.Finish()
}

// lookUpError is an ErrTable where Postgres cannot read the name: a syntax error, too many dots, another database.
func lookUpError(table string, err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && slices.Contains([]string{"42602", "42601", "0A000"}, answer.Code) {
		return fmt.Errorf("%w %s: %s", ErrTable, quote(table), answer.Message)
	}
	return fmt.Errorf("look up table %s: %w", quote(table), err)
}

// foreignColumns looks a table or view up, by the rules by which Postgres reads names, and gives its name as SQL.
func foreignColumns(ctx context.Context, tx pgx.Tx, table string) (columns, string, error) {
	rows, err := tx.Query(ctx, `
		SELECT n.nspname::text, c.relname::text, a.attname::text, coalesce(b.typname, t.typname)::text, CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE c.oid = to_regclass($1)`, table)
	if err != nil {
		return nil, "", lookUpError(table, err)
	}
	found := columns{}
	var schema, name, column, kind string
	var mod int
	if _, err := pgx.ForEachRow(rows, []any{&schema, &name, &column, &kind, &mod}, func() error {
		found[column] = columnOf(kind, mod)
		return nil
	}); err != nil {
		return nil, "", lookUpError(table, err)
	}
	if len(found) == 0 {
		return nil, "", fmt.Errorf("%w %s does not exist", ErrTable, table)
	}
	var missing []string
	for _, want := range []string{"checkout_id", "click_id", "click_time"} {
		if _, ok := found[want]; !ok {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		return nil, "", fmt.Errorf("%w %s has no column %s: name a view that has checkout_id, click_id, click_time and, if need be, checkout_time", ErrTable, table, strings.Join(missing, ", "))
	}
	return found, pgx.Identifier{schema, name}.Sanitize(), nil
}

func (a *audit) parseForeign(in *bufio.Reader) error {
	head := make([]byte, len(copySignature)+8)
	if _, err := io.ReadFull(in, head); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, copySignature) {
		return errors.New("not a binary copy")
	}
	var value, buf []byte
	for {
		var count int16
		if err := binary.Read(in, binary.BigEndian, &count); err != nil {
			return err
		}
		if count == -1 {
			_, err := io.Copy(io.Discard, in) // to the end, so that the copying side ends in good order
			return err
		}
		r := attributed{there: true}
		timed := false
		for i := range 4 {
			var size int32
			if err := binary.Read(in, binary.BigEndian, &size); err != nil {
				return err
			}
			if size < 0 {
				continue
			}
			value = slices.Grow(value[:0], int(size))[:size]
			if _, err := io.ReadFull(in, value); err != nil {
				return err
			}
			switch i {
			case 0:
				r.id = string(value)
			case 1:
				r.click.id, r.click.ok = string(value), true
			case 2:
				r.click.time, timed = copiedTime(value), true
			case 3:
				r.time, r.timed = copiedTime(value), true
			}
		}
		r.odd = r.click.ok != timed
		if !r.click.ok {
			r.click.time = 0
		}
		a.snap.rowCount++
		if r.click.ok {
			a.snap.attributed++
		}
		buf = r.append(buf[:0])
		if err := a.snap.rows.Add(buf); err != nil {
			return err
		}
		a.progress.add(1)
	}
}
