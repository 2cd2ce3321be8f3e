package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"firstclick/join/event"
)

var decimals = []string{
	"0", "-0", "0.0", "-0.00", "1", "-1", "9999", "10000", "10001", "100000000",
	"0.1", "0.0001", "0.00001", "0.00010000", "123456789.123456789",
	"00012.5", "12.50", "0.9999", "0.99995", "-99999999.995", strings.Repeat("9", 64), "0." + strings.Repeat("0", 63) +
		"1", "1" + strings.Repeat("0", 100),
}

// What Postgres makes of the binary form is what it makes of the text.
func TestNumericAgainstPostgres(t *testing.T) {
	b := newBench(t)
	b.exec(`CREATE TABLE n (free numeric, narrow numeric(12,2), text text)`)
	gen := rapid.StringMatching(`-?[0-9]{1,9}(\.[0-9]{1,9})?`)
	values := append([]string{}, decimals...)
	for i := range 500 {
		values = append(values, gen.Example(i))
	}
	data := []byte(copyHeader)
	for _, v := range values {
		data = append(data, 0, 3)
		number := appendNumber(nil, []byte(v))
		data = append(binary.BigEndian.AppendUint32(data, uint32(len(number))), number...)
		if len(v) < 14 {
			data = append(binary.BigEndian.AppendUint32(data, uint32(len(number))), number...)
		} else {
			data = append(data, 0xff, 0xff, 0xff, 0xff) // NULL
		}
		data = append(binary.BigEndian.AppendUint32(data, uint32(len(v))), v...)
	}
	data = append(data, 0xff, 0xff)
	if _, err := b.db.PgConn().CopyFrom(t.Context(), bytes.NewReader(data),
		"COPY n FROM STDIN (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	b.expect("", `SELECT text, free, narrow FROM n
		WHERE free::text <> text::numeric::text OR narrow <> CASE WHEN narrow IS NOT NULL THEN text::numeric(12,2) END`)
	b.expect(fmt.Sprint(len(values)), `SELECT count(free) FROM n`)
}

func FuzzNumeric(f *testing.F) {
	for _, v := range decimals {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		digits := strings.TrimPrefix(v, "-")
		whole, fraction, point := strings.Cut(digits, ".")
		if whole == "" || point && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" || len(v) > 200 {
			return
		}
		want, ok := new(big.Rat).SetString(v)
		if !ok {
			t.Fatal(v)
		}
		out := appendNumber([]byte("before"), []byte(v))
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Fatal("touched what was there")
		}
		out = out[6:]
		var n pgtype.Numeric
		if err := pgtype.NewMap().Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, out, &n); err != nil {
			t.Fatal(err)
		}
		got := new(big.Rat).SetInt(n.Int)
		ten := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n.Exp, -n.Exp))), nil))
		if n.Exp < 0 {
			got.Quo(got, ten)
		} else {
			got.Mul(got, ten)
		}
		if got.Cmp(want) != 0 {
			t.Fatalf("%s became %s", v, got)
		}
		if scale := int(binary.BigEndian.Uint16(out[6:])); scale != len(fraction) {
			t.Fatalf("%s: scale %d", v, scale)
		}
	})
}

func TestRenderingDoesNotAllocate(t *testing.T) {
	k := clicked(row(0, checkout(uuid(1))), uuid(2), noon)
	r := &rowReader{fields: appendFields(nil, &k)}
	dst := make([]byte, 0, 1024)
	ref := rowRef{Released: &k, fields: event.Span{To: uint32(len(r.fields))}}
	if n := testing.AllocsPerRun(100, func() { dst = r.appendRow(dst[:0], ref) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// Whatever the sizes of rows and buffers, the bytes are the same.
func TestReaderInAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []event.Released
		for i := range rapid.IntRange(0, 5).Draw(t, "rows") {
			k := checkout(fmt.Sprintf("id%d", i))
			k.User = int32(rapid.IntRange(1, 3).Draw(t, "user"))
			k.Agent = text(strings.Repeat("a", rapid.SampledFrom([]int{0, 10, 1000, 70_000}).Draw(t, "agent")))
			r := row(int64(i), k)
			if rapid.Bool().Draw(t, "click") {
				r = clicked(r, strings.Repeat("c", rapid.IntRange(1, 255).Draw(t, "click id")), noon)
			}
			rows = append(rows, r)
		}
		w, err := newCommitSet([]*Batch{{Claim: &Claim{}, Rows: rows}})
		if err != nil {
			t.Fatal(err)
		}
		names := map[int32]string{1: "ann", 2: strings.Repeat("n", 500)}
		ordinals := rapid.Bool().Draw(t, "ordinals")
		read := func(size int) []byte {
			r := &rowReader{rows: w.rows, fields: w.fields, names: names, ordinals: ordinals}
			var out []byte
			buf := make([]byte, size)
			for {
				n, err := r.Read(buf)
				out = append(out, buf[:n]...)
				if errors.Is(err, io.EOF) {
					return out
				}
				if n == 0 {
					t.Fatal("read nothing")
				}
			}
		}
		whole := read(1 << 20)
		if got := read(rapid.IntRange(1, 70_000).Draw(t, "buffer")); !bytes.Equal(got, whole) {
			t.Fatalf("%d bytes and %d", len(got), len(whole))
		}
		if !bytes.HasPrefix(whole, []byte(copyHeader)) || !bytes.HasSuffix(whole, []byte{0xff, 0xff}) {
			t.Fatal("header or trailer")
		}
	})
}

func TestInstants(t *testing.T) {
	b := newBench(t)
	for _, v := range []int64{event.NoTime, 0, -1, noon, math.MaxInt64, earliest} {
		var back pgtype.Timestamptz
		if err := b.db.QueryRow(t.Context(), `SELECT $1::timestamptz`, instant(v)).Scan(&back); err != nil {
			t.Fatal(v, err)
		}
		if got := micros(back); got != v {
			t.Errorf("%d became %d", v, got)
		}
	}
	if micros(instant(math.MinInt64+1)) != event.NoTime {
		t.Error("before all time")
	}
}
