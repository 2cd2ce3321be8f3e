package cdc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"strconv"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
)

// message builds a pgoutput message. Strings get their zero byte, tuples are appended as they are.
func message(parts ...any) []byte {
	var b []byte
	for _, part := range parts {
		switch p := part.(type) {
		case byte:
			b = append(b, p)
		case rune:
			b = append(b, byte(p))
		case uint16:
			b = binary.BigEndian.AppendUint16(b, p)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, p)
		case string:
			b = append(append(b, p...), 0)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

func column(s string) []byte { return message('t', uint32(len(s)), []byte(s)) }

func usersRelation(oid uint32, schema, table string, idType uint32, columns ...string) []byte {
	b := message('R', oid, schema, table, 'd', uint16(len(columns)))
	for _, c := range columns {
		key := byte(0)
		if c == "id" {
			key = 1
		}
		b = append(b, message(key, c, idType, uint32(math.MaxUint32))...)
	}
	return b
}

var (
	beginMessage  = message('B', uint64(1), uint64(2), uint32(3))
	commitMessage = message('C', byte(0), uint64(1), uint64(2), uint64(3))
	users         = usersRelation(7, "commerce", "users", 23, "id", "username")
)

func TestDecodeRefuses(t *testing.T) {
	row := func(tuple ...[]byte) []byte {
		return append(message('I', uint32(7), 'N', uint16(len(tuple))), bytes.Join(tuple, nil)...)
	}
	for name, messages := range map[string][][]byte{
		"empty":                   {{}},
		"unknown kind":            {message('z')},
		"stream start, not asked": {message('S', uint32(1), byte(1))},
		"short begin":             {beginMessage[:10]},
		"long begin":              {append(beginMessage[:len(beginMessage):len(beginMessage)], 0)},
		"begin twice":             {beginMessage, beginMessage},
		"commit alone":            {commitMessage},
		"row outside":             {users, row(column("1"), column("a"))},
		"row of unknown table":    {beginMessage, row(column("1"), column("a"))},
		"too few columns":         {users, beginMessage, row(column("1"))},
		"too many columns":        {users, beginMessage, row(column("1"), column("a"), column("b"))},
		"hostile length":          {users, beginMessage, row(column("1"), message('t', uint32(math.MaxInt32)))},
		"negative length":         {users, beginMessage, row(column("1"), message('t', uint32(math.MaxUint32)))},
		"binary column":           {users, beginMessage, row(column("1"), message('b', uint32(0)))},
		"id no number":            {users, beginMessage, row(column("1x"), column("a"))},
		"empty id":                {users, beginMessage, row(column(""), column("a"))},
		"trailing bytes":          {users, beginMessage, append(row(column("1"), column("a")), 'x')},
		"delete with a new row":   {users, beginMessage, message('D', uint32(7), 'N', uint16(0))},
		"no tuple kind":           {users, beginMessage, message('U', uint32(7), 'X')},
		"relation without end":    {users[:12]},
		"relation, many columns":  {message('R', uint32(7), "commerce", "users", 'd', uint16(60000))},
		"truncate, many tables":   {beginMessage, message('T', uint32(math.MaxInt32), byte(0))},
		"truncate unknown table":  {beginMessage, message('T', uint32(1), byte(0), uint32(8))},
		"truncate outside":        {users, message('T', uint32(1), byte(0), uint32(7))},
		"endless string":          {message('O', uint64(1), []byte("abc"))},
		"hostile message length":  {message('M', byte(0), uint64(1), "p", uint32(math.MaxInt32))},
	} {
		d := newDecoder()
		var ch change
		for i, b := range messages {
			err := d.decode(bytes.Clone(b), &ch)
			if last := i == len(messages)-1; !last && err != nil {
				t.Errorf("%s: message %d: %v", name, i, err)
			} else if typed := (*DecodeError)(nil); last && !errors.As(err, &typed) {
				t.Errorf("%s: %v is no DecodeError", name, err)
			}
		}
	}
}

func TestDecodeSchemaChanges(t *testing.T) {
	for name, next := range map[string][]byte{
		"renamed":        usersRelation(7, "commerce", "old_users", 23, "id", "username"),
		"other schema":   usersRelation(7, "public", "users", 23, "id", "username"),
		"another table":  usersRelation(8, "commerce", "users", 23, "id", "username"),
		"no username":    usersRelation(7, "commerce", "users", 23, "id", "name"),
		"no id":          usersRelation(7, "commerce", "users", 23, "username"),
		"id not the key": bytes.Replace(users, []byte("\x01id\x00"), []byte("\x00id\x00"), 1),
	} {
		d := newDecoder()
		var ch change
		if err := d.decode(users, &ch); err != nil {
			t.Fatal(err)
		}
		var typed *SchemaError
		if err := d.decode(next, &ch); !errors.As(err, &typed) {
			t.Errorf("%s: %v is no SchemaError", name, err)
		}
	}
}

func TestDecodeIgnores(t *testing.T) {
	d := newDecoder()
	for _, b := range [][]byte{
		message('Y', uint32(9), "public", "mood"),
		message('O', uint64(1), "origin"),
		message('M', byte(1), uint64(1), "prefix", uint32(3), []byte("abc")),
		usersRelation(9, "public", "orders", 23, "id"),
		users,
		beginMessage,
		message('I', uint32(9), 'N', []byte("whatever")),
		usersRelation(7, "commerce", "users", 23, "username", "extra", "id"), // in another order
	} {
		var ch change
		if err := d.decode(b, &ch); err != nil || ch.kind != kindNone && ch.kind != kindBegin {
			t.Errorf("%q: kind %d, %v", b, ch.kind, err)
		}
	}
	var ch change
	row := append(message('I', uint32(7), 'N', uint16(3)),
		bytes.Join([][]byte{column("Ada"), column("hidden"), column("5")}, nil)...)
	if err := d.decode(row, &ch); err != nil || describe(&ch) != `insert 5 "Ada"` {
		t.Errorf("%s, %v", describe(&ch), err)
	}
	if bytes.Contains(row, []byte("hidden")) {
		t.Error("another column was left in the buffer")
	}
}

func TestParseID(t *testing.T) {
	for _, n := range []int64{0, 1, -1, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		if got, ok := parseID([]byte(strconv.FormatInt(n, 10))); !ok || got != n {
			t.Errorf("%d: %d, %v", n, got, ok)
		}
	}
	for _, s := range []string{"", "-", "+1", " 1", "1.0", "9223372036854775808", "-9223372036854775809",
		"99999999999999999999"} {
		if n, ok := parseID([]byte(s)); ok {
			t.Errorf("%q: %d", s, n)
		}
	}
}

// TestDecodeAllocates nothing for a row, cached or not, whatever length a message claims.
func TestDecodeAllocates(t *testing.T) {
	d, c := newDecoder(), newTestCache(t, 10)
	c.add(1, &entry{name: "Ada"})
	var ch change
	for _, b := range [][]byte{users, beginMessage} {
		if err := d.decode(b, &ch); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"1", "2"} {
		row := append(message('U', uint32(7), 'N', uint16(2)), bytes.Join([][]byte{column(id), column("Ada")}, nil)...)
		if n := testing.AllocsPerRun(1000, func() {
			if err := d.decode(row, &ch); err != nil {
				t.Fatal(err)
			}
			c.apply(&ch)
		}); n != 0 {
			t.Errorf("user %s: %v allocations a row", id, n)
		}
	}
}

func newTestCache(t testing.TB, capacity int) *cache {
	t.Helper()
	c, err := newCache(capacity, 16, &snapshot{xmin: 1, xmax: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzDecode(f *testing.F) {
	for _, file := range capturedFiles(f) {
		for _, m := range readCapture(f, file) {
			f.Add(m)
		}
	}
	f.Add(message('T', uint32(math.MaxInt32), byte(0)))
	f.Add(message('R', uint32(7), "commerce", "users", 'd', uint16(math.MaxUint16)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, c := newDecoder(), newTestCache(t, 4)
		d.relations[7] = relation{users: true, columns: 2, id: 0, name: 1}
		for _, inTx := range []bool{false, true} {
			d.inTx = inTx
			var ch change
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := d.decode(bytes.Clone(b), &ch)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10+4*uint64(len(b)) {
				t.Fatalf("%d bytes allocated for a message of %d", n, len(b))
			}
			var decode *DecodeError
			var schema *SchemaError
			if err != nil && !errors.As(err, &decode) && !errors.As(err, &schema) {
				t.Fatalf("untyped error %v", err)
			}
			if err == nil && ch.kind > kindCommit {
				c.apply(&ch)
			}
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	for _, s := range []string{"10:20:10,14,15", "1:1:", "5:4:", "18446744073709551615:18446744073709551615:",
		"1:9:3,3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSnapshot(text)
		if err != nil {
			return
		}
		if !s.covers(s) || s.sees(s.xmax) || !s.sees(s.xmin-1) {
			t.Fatalf("%q: %+v", text, s)
		}
	})
}

// TestWipingReader: in whatever pieces the bytes arrive, messages come whole, and the reader keeps
// none.
func TestWipingReader(t *testing.T) {
	var wire []byte
	bodies := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("secret"), 10), bytes.Repeat([]byte("large"), 50_000),
		[]byte("end")}
	for _, body := range bodies {
		wire = append(wire, message('d', uint32(len(body)+4), body)...)
	}
	for name, source := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader,
		"error at the end": iotest.DataErrReader,
	} {
		r := newWipingReader(source(bytes.NewReader(wire)))
		f := pgproto3.NewFrontend(r, io.Discard)
		for i, body := range bodies {
			msg, err := f.Receive()
			if err != nil {
				t.Fatalf("%s: message %d: %v", name, i, err)
			}
			if data, ok := msg.(*pgproto3.CopyData); !ok || !bytes.Equal(data.Data, body) {
				t.Fatalf("%s: message %d differs", name, i)
			}
		}
		if _, err := f.Receive(); err == nil {
			t.Errorf("%s: a message after the last", name)
		}
		if !bytes.Equal(r.buf, make([]byte, len(r.buf))) {
			t.Errorf("%s: bytes left behind", name)
		}
	}
}

func TestFullXid(t *testing.T) {
	for _, c := range []struct {
		near uint64
		xid  uint32
		want uint64
	}{
		{100, 99, 99},
		{100, 200, 200},
		{1<<32 + 5, math.MaxUint32, 1<<32 - 1},
		{1<<32 - 5, 3, 1<<32 + 3},
		{7<<32 + 10, 11, 7<<32 + 11},
		{3 << 32, 1 << 30, 3<<32 + 1<<30},
	} {
		if got := fullXid(c.near, c.xid); got != c.want {
			t.Errorf("fullXid(%d, %d) = %d, want %d", c.near, c.xid, got, c.want)
		}
	}
}
