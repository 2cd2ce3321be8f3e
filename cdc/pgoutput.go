package cdc

import (
	"fmt"
	"math"
)

// DecodeError says that a replication message is not what the protocol allows. It quotes no data of
// the message. It ends the stream: a message is never skipped.
type DecodeError struct {
	Message byte   // the message's kind byte, 0 if it had none
	Reason  string // what is wrong
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode replication message %q: %s", e.Message, e.Reason)
}

// SchemaError says that commerce.users is no longer the table that the stream began with.
type SchemaError struct{ Reason string }

func (e *SchemaError) Error() string { return "users table changed: " + e.Reason }

type kind byte

const (
	kindNone kind = iota // relation, type, origin, logical message, row of another table
	kindBegin
	kindCommit
	kindInsert
	kindUpdate
	kindDelete
	kindTruncate
)

type textState byte

const (
	textUnchanged textState = iota // an unchanged TOAST value, which is not sent; or no value at all
	textNull
	textValue
)

// text is a column's value. bytes aliases the message.
type text struct {
	state textState
	bytes []byte
}

// key is a user id. ok is false for NULL, for an id that was not sent, and for one beyond 32 bits,
// which no event has.
type key struct {
	value int32
	ok    bool
}

// change is a decoded message.
type change struct {
	kind   kind
	xid    uint32 // of a begin
	end    uint64 // of a commit: the LSN after its record
	id     key    // insert, update: the new id
	name   text   // insert, update: the new name
	hasOld bool   // update: old is set
	old    key    // delete, update: the old id
}

// Postgres has at most 1600 columns in a table, and our publication has one table. The bounds
// protect from a hostile server.
const (
	maxColumns   = 1664
	maxRelations = 10_000
)

// relation is how a row of a table looks now. Rows of other tables are not decoded.
type relation struct {
	users    bool
	columns  int
	id, name int
}

// decoder reads pgoutput, protocol version 1, text format.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
type decoder struct {
	relations map[uint32]relation
	usersOID  uint32
	inTx      bool
}

func newDecoder() *decoder { return &decoder{relations: make(map[uint32]relation)} }

// decode reads one message into ch. It overwrites column values in msg that are neither the id nor
// the username: they may be passwords.
func (d *decoder) decode(msg []byte, ch *change) (err error) {
	defer func() {
		if err != nil { // whatever it is, it may hold a password
			clear(msg)
		}
	}()
	*ch = change{}
	if len(msg) == 0 {
		return &DecodeError{Reason: "empty"}
	}
	message := msg[0]
	f := fields{b: msg[1:]}
	switch message {
	case 'B':
		f.next(16) // LSN and time of the commit
		ch.kind, ch.xid = kindBegin, f.uint32()
		if d.inTx {
			return &DecodeError{Message: message, Reason: "begin within a transaction"}
		}
		d.inTx = true
	case 'C':
		f.next(9) // flags, the commit record's LSN
		ch.kind, ch.end = kindCommit, f.uint64()
		f.next(8) // time
		if !d.inTx {
			return &DecodeError{Message: message, Reason: "commit without a transaction"}
		}
		d.inTx = false
	case 'I', 'U', 'D':
		err = d.row(message, &f, ch)
	case 'T':
		err = d.truncate(&f, ch)
	case 'R':
		err = d.relation(&f)
	case 'Y':
		f.next(4) // type's OID
		f.text()
		f.text()
	case 'O':
		f.next(8) // the commit's LSN at the origin
		f.text()
	case 'M':
		f.next(9) // flags, LSN
		f.text()
		f.next(f.length())
	default:
		return &DecodeError{Message: message, Reason: "unknown kind"}
	}
	switch {
	case err != nil:
		return err
	case f.problem != "":
		return &DecodeError{Message: message, Reason: f.problem}
	case len(f.b) != 0:
		return &DecodeError{Message: message, Reason: fmt.Sprintf("%d bytes too many", len(f.b))}
	}
	return nil
}

func (d *decoder) truncate(f *fields, ch *change) error {
	n := f.length()
	f.next(1) // cascade, restart identity
	if n*4 != len(f.b) {
		return &DecodeError{Message: 'T', Reason: "length does not match the number of tables"}
	}
	if !d.inTx {
		return &DecodeError{Message: 'T', Reason: "outside of a transaction"}
	}
	for range n {
		rel, ok := d.relations[f.uint32()]
		if !ok {
			return &DecodeError{Message: 'T', Reason: "of a table not described before"}
		}
		if rel.users {
			ch.kind = kindTruncate
		}
	}
	return nil
}

// relation reads the description of a table. It comes before the table's first row, and again
// before the next row after the table was altered.
func (d *decoder) relation(f *fields) error {
	oid := f.uint32()
	schema, table := f.text(), f.text()
	f.next(1) // replica identity
	n := int(f.uint16())
	if n > maxColumns {
		return &DecodeError{Message: 'R', Reason: "more columns than a table can have"}
	}
	rel := relation{users: string(schema) == "commerce" && string(table) == "users", columns: n, id: -1, name: -1}
	var idIsKey bool
	for i := range n {
		flags := f.byte() // 1: part of the replica identity
		column := f.text()
		f.next(8) // type, type modifier
		switch string(column) {
		case "id":
			rel.id, idIsKey = i, flags&1 != 0
		case "username":
			rel.name = i
		}
	}
	switch {
	case f.problem != "" || len(f.b) != 0:
		return nil // decode reports it
	case !rel.users && d.usersOID != 0 && oid == d.usersOID:
		return &SchemaError{Reason: "it was renamed"}
	case rel.users && d.usersOID != 0 && oid != d.usersOID:
		return &SchemaError{Reason: "another table has its name"}
	case rel.users && (rel.id < 0 || rel.name < 0):
		return &SchemaError{Reason: "no column id or username in the publication"}
	case rel.users && !idIsKey:
		return &SchemaError{Reason: "the column id is not part of its replica identity"}
	}
	if _, known := d.relations[oid]; !known && len(d.relations) >= maxRelations {
		return &DecodeError{Message: 'R', Reason: "too many tables"}
	}
	d.relations[oid] = rel
	if rel.users {
		d.usersOID = oid
	}
	return nil
}

func (d *decoder) row(message byte, f *fields, ch *change) error {
	if !d.inTx {
		return &DecodeError{Message: message, Reason: "outside of a transaction"}
	}
	rel, ok := d.relations[f.uint32()]
	if !ok {
		return &DecodeError{Message: message, Reason: "of a table not described before"}
	}
	if !rel.users {
		clear(f.b)
		f.b = nil
		return nil
	}
	var oldName text
	part := f.byte()
	if message != 'I' && (part == 'K' || part == 'O') {
		if err := d.tuple(f, rel, message, &ch.old, &oldName); err != nil {
			return err
		}
		ch.hasOld = true
		if message == 'D' {
			ch.kind = kindDelete
			return nil
		}
		if part == 'K' { // a key holds NULL for the other columns
			oldName = text{}
		}
		part = f.byte()
	}
	if part != 'N' || message == 'D' {
		return &DecodeError{Message: message, Reason: "no row where one must be"}
	}
	if err := d.tuple(f, rel, message, &ch.id, &ch.name); err != nil {
		return err
	}
	// Under REPLICA IDENTITY FULL the old row holds the value that the new one leaves out.
	if ch.name.state == textUnchanged && oldName.state == textValue {
		ch.name = oldName
	}
	ch.kind = kindInsert
	if message == 'U' {
		ch.kind = kindUpdate
	}
	return nil
}

// tuple reads a row, keeps its id and name, and overwrites everything else.
func (d *decoder) tuple(f *fields, rel relation, message byte, id *key, name *text) error {
	if n := int(f.uint16()); n != rel.columns && f.problem == "" {
		return &DecodeError{Message: message, Reason: fmt.Sprintf("%d columns, not %d", n, rel.columns)}
	}
	for i := range rel.columns {
		var value text
		switch format := f.byte(); format {
		case 'n':
			value.state = textNull
		case 'u':
		case 't':
			value.state = textValue
			value.bytes = f.next(f.length())
		default:
			if f.problem != "" {
				return nil // decode reports it
			}
			return &DecodeError{Message: message, Reason: fmt.Sprintf("column format %q", format)}
		}
		switch i {
		case rel.id:
			if value.state == textValue {
				n, ok := parseID(value.bytes)
				if !ok && f.problem == "" {
					return &DecodeError{Message: message, Reason: "an id that is no number"}
				}
				if n >= math.MinInt32 && n <= math.MaxInt32 {
					*id = key{value: int32(n), ok: ok}
				}
			}
		case rel.name:
			*name = value
		default:
			clear(value.bytes)
		}
	}
	return nil
}

// parseID reads the text form of an int2, int4 or int8. strconv would add half to the time that a
// row takes.
func parseID(b []byte) (int64, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	switch {
	case negative && n <= -math.MinInt64:
		return -int64(n), true
	case !negative && n <= math.MaxInt64:
		return int64(n), true
	}
	return 0, false
}
