package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// column is how Postgres stores a column: what is compared is what the type makes of a value, not the value.
type column struct {
	kind  columnKind
	limit int // characters of varchar(n) and char(n), 0: any; digits of numeric(p,s), 0: any
	scale int // of numeric(p,s); digits of timestamp(p)
}

type columnKind int

const (
	kindText columnKind = iota // varchar, text
	kindPadded
	kindNumeric
	kindFloat4
	kindFloat8
	kindTime
)

type columns map[string]column

// ownColumns are the checkout's own ones, in the order of tableRow.own.
var ownColumns = [...]string{"product_id", "payment_method", "total_amount", "shipping_address", "billing_address", "user_agent", "ip_address", "checkout_time"}

const (
	ownAmount = 2
	ownTime   = 7
)

func (a *audit) readColumns(ctx context.Context, tx pgx.Tx) error {
	a.snap.columns = columns{}
	rows, err := tx.Query(ctx, `
		SELECT a.attname::text, coalesce(b.typname, t.typname)::text, CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE a.attrelid = to_regclass('commerce.attributed_checkouts') AND a.attnum > 0 AND NOT a.attisdropped`)
	if err != nil {
		return fmt.Errorf("read the columns of commerce.attributed_checkouts: %w", err)
	}
	var name, kind string
	var mod int
	if _, err := pgx.ForEachRow(rows, []any{&name, &kind, &mod}, func() error {
		a.snap.columns[name] = columnOf(kind, mod)
		return nil
	}); err != nil {
		return fmt.Errorf("read the columns of commerce.attributed_checkouts: %w", err)
	}
	if len(a.snap.columns) == 0 {
		return errors.New("there is no table commerce.attributed_checkouts: run `firstclick migrate`")
	}
	return nil
}

// columnOf decodes a type modifier as Postgres' own functions do (numerictypmodout, varchartypmodout).
func columnOf(kind string, mod int) column {
	switch kind {
	case "varchar":
		return column{kind: kindText, limit: max(0, mod-4)}
	case "bpchar":
		return column{kind: kindPadded, limit: max(0, mod-4)}
	case "numeric":
		if mod < 4 {
			return column{kind: kindNumeric}
		}
		return column{kind: kindNumeric, limit: (mod - 4) >> 16 & 0xffff, scale: ((mod-4)&0x7ff ^ 1024) - 1024}
	case "float4":
		return column{kind: kindFloat4}
	case "float8":
		return column{kind: kindFloat8}
	case "timestamp", "timestamptz":
		if mod < 0 {
			mod = 6
		}
		return column{kind: kindTime, scale: mod}
	default: // text, and whatever else there is: compared as text
		return column{kind: kindText}
	}
}

// stored is what the column makes of a text. Too long a text is refused by Postgres unless only blanks are too much.
func (c column) stored(s string) string {
	if c.limit > 0 && utf8.RuneCountInString(s) > c.limit {
		cut := 0
		for range c.limit {
			_, n := utf8.DecodeRuneInString(s[cut:])
			cut += n
		}
		if strings.Trim(s[cut:], " ") == "" {
			s = s[:cut]
		}
	}
	if c.kind == kindPadded {
		s = strings.TrimRight(s, " ")
	}
	return s
}

// click decodes a click. One whose id the column of click ids does not hold is none: reason refused.
func (s *snapshot) click(value []byte, zone *time.Location) (e event, reason string) {
	e, reason = decodeClick(value, zone)
	if limit := s.columns["click_id"].limit; reason == "" && limit > 0 && utf8.RuneCountInString(e.id) > limit {
		reason = reasonRefused
	}
	return e, reason
}

// unit is what the column holds a time to, in microseconds.
func (c column) unit() int64 {
	if c.kind != kindTime {
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

// equal compares a wire value with what stands in the column.
func (c column) equal(wire, there optional) bool {
	if !wire.valid || !there.valid {
		return wire.valid == there.valid
	}
	switch c.kind {
	case kindNumeric:
		w, okW := parseDecimal(wire.text)
		t, okT := parseDecimal(there.text)
		if c.limit > 0 && okW {
			w = w.round(c.scale)
		}
		return okW && okT && w.equal(t)
	case kindFloat4, kindFloat8:
		bits := 64
		if c.kind == kindFloat4 {
			bits = 32
		}
		w, errW := strconv.ParseFloat(wire.text, bits)
		t, errT := strconv.ParseFloat(there.text, bits)
		return errW == nil && errT == nil && w == t
	default:
		return c.stored(wire.text) == c.stored(there.text)
	}
}

// tableRow is a row of commerce.attributed_checkouts. Times are microseconds since the Unix epoch.
type tableRow struct {
	id         string
	name       optional
	click      optional
	clickTime  int64
	clickTimed bool
	own        [7]optional // the texts among ownColumns; the amount as Postgres prints it
	time       int64
	timed      bool
}

func (r tableRow) append(b []byte) []byte {
	b = appendOptional(appendOptional(appendText(b, r.id), r.name), r.click)
	b = appendMaybeInt64(b, r.clickTime, r.clickTimed)
	for _, o := range r.own {
		b = appendOptional(b, o)
	}
	return appendMaybeInt64(b, r.time, r.timed)
}

func appendMaybeInt64(b []byte, v int64, valid bool) []byte {
	if !valid {
		return append(b, 0)
	}
	return appendInt64(append(b, 1), v)
}

func (f *fields) maybeInt64() (int64, bool) {
	if f.byte() == 0 {
		return 0, false
	}
	return f.int64(), true
}

func parseRow(item []byte) (r tableRow) {
	f := fields(item)
	r.id, r.name, r.click = f.text(), f.optional(), f.optional()
	r.clickTime, r.clickTimed = f.maybeInt64()
	for i := range r.own {
		r.own[i] = f.optional()
	}
	r.time, r.timed = f.maybeInt64()
	return r
}

// differing names the first own column in which the row is not what the checkout would be stored as; "" if there is none.
func (r tableRow) differing(cols columns, k event) (name, want, there string) {
	for i, wire := range k.own() {
		if name := ownColumns[i]; !cols[name].equal(wire, r.own[i]) {
			return name, wire.String(), r.own[i].String()
		}
	}
	if want := cols[ownColumns[ownTime]].storedTime(k.time); !r.timed || r.time != want {
		there := "NULL"
		if r.timed {
			there = formatTime(r.time)
		}
		return ownColumns[ownTime], formatTime(want), there
	}
	return "", "", ""
}

func (e event) own() [7]optional {
	return [7]optional{some(e.product), e.payment, e.amount, e.shipping, e.billing, e.agent, e.ip}
}

func formatTime(micros int64) string {
	return time.UnixMicro(micros).UTC().Format("2006-01-02 15:04:05.999999")
}

// readRows copies the whole table into a sort by checkout_id. The server does not sort: its disk is not ours to fill.
func (a *audit) readRows(ctx context.Context, tx pgx.Tx) error {
	s := &a.snap
	s.rows = a.sorter("rows")
	a.progress.phase("rows of commerce.attributed_checkouts")
	r, w := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := tx.Conn().PgConn().CopyTo(ctx, w, `COPY (
			SELECT checkout_id::text, user_name::text, click_id::text, click_time::timestamp, product_id::text, payment_method::text,
			       total_amount::text, shipping_address::text, billing_address::text, user_agent::text, ip_address::text,
			       checkout_time::timestamp
			FROM commerce.attributed_checkouts) TO STDOUT (FORMAT binary)`)
		_ = w.CloseWithError(err) // never fails
		copied <- err
	}()
	parseErr := a.parseRows(bufio.NewReaderSize(r, 256<<10))
	_ = r.CloseWithError(errors.Join(parseErr, io.ErrClosedPipe)) // never fails
	if err := errors.Join(<-copied, parseErr); err != nil {
		return fmt.Errorf("read commerce.attributed_checkouts: %w", err)
	}
	return s.rows.Finish()
}

var copySignature = []byte("PGCOPY\n\xff\r\n\x00")

// parseRows takes binary COPY apart (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format").
func (a *audit) parseRows(in *bufio.Reader) error {
	head := make([]byte, len(copySignature)+8)
	if _, err := io.ReadFull(in, head); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, copySignature) {
		return errors.New("not a binary copy")
	}
	var buf []byte
	for {
		var count int16
		if err := binary.Read(in, binary.BigEndian, &count); err != nil {
			return err
		}
		if count == -1 {
			_, err := io.Copy(io.Discard, in) // to the end, so that the copying side ends in good order
			return err
		}
		row, err := readRow(in)
		if err != nil {
			return err
		}
		s := &a.snap
		s.rowCount++
		if row.click.valid {
			s.attributed++
		}
		if !row.name.valid {
			s.namesMissing++
		}
		buf = row.append(buf[:0])
		if err := s.rows.Add(buf); err != nil {
			return err
		}
		a.progress.add(1)
	}
}

func readRow(in *bufio.Reader) (r tableRow, err error) {
	var id optional
	texts := []*optional{&id, &r.name, &r.click, nil, &r.own[0], &r.own[1], &r.own[2], &r.own[3], &r.own[4], &r.own[5], &r.own[6], nil}
	for i, text := range texts {
		var n [4]byte
		if _, err := io.ReadFull(in, n[:]); err != nil {
			return r, err
		}
		size := int32(binary.BigEndian.Uint32(n[:]))
		if size < 0 {
			continue
		}
		value := make([]byte, size)
		if _, err := io.ReadFull(in, value); err != nil {
			return r, err
		}
		switch {
		case text != nil:
			*text = some(string(value))
		case i == 3:
			r.clickTime, r.clickTimed = copiedTime(value), true
		default:
			r.time, r.timed = copiedTime(value), true
		}
	}
	r.id = id.text
	return r, nil
}

// copiedTime reads a binary timestamp, microseconds since 2000-01-01. Infinity stays at the ends of the scale.
func copiedTime(value []byte) int64 {
	const epoch2000 = 946_684_800_000_000
	v := int64(binary.BigEndian.Uint64(value))
	if v > math.MaxInt64-epoch2000 {
		return math.MaxInt64
	}
	return v + epoch2000
}
