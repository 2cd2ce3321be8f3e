package cdc

import (
	"fmt"
	"math"
)

// DecodeError says that a replication message is not what the protocol allows. It quotes no data of the message. The stream
// that brought it ends: a message is never skipped.
type DecodeError struct {
	Message byte   // the message's kind byte, 0 if it had none
	Reason  string // what is wrong
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode replication message %q: %s", e.Message, e.Reason)
}

// SchemaError says that commerce.users is no longer the table that the mirror began with.
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
	textUnchanged textState = iota // an unchanged TOAST value, not sent; or no value at all
	textNull
	textValue
)

// text is a column's value. bytes aliases the message.
type text struct {
	state textState
	bytes []byte
}

// key is a user id; ok is false for NULL, for one not sent, and for one beyond 32 bits, which nobody can ask for.
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

// Postgres has at most 1600 columns in a table, and a publication of ours one table; the bounds are against hostile input.
const (
	maxColumns   = 1664
	maxRelations = 10_000
)

// relation is what a row of a table looks like now. Rows of other tables are not decoded.
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

// decode reads one message into ch. Column values that are neither the id nor the username are overwritten in msg: they may be
// passwords.
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
	r := reader{b: msg[1:]}
	switch msg[0] {
	case 'B':
		err = d.begin(&r, ch)
	case 'C':
		err = d.commit(&r, ch)
	case 'I', 'U', 'D':
		err = d.row(msg[0], &r, ch)
	case 'T':
		err = d.truncate(&r, ch)
	case 'R':
		err = d.relation(&r)
	case 'Y':
		r.skip(4) // type's OID
		r.cstring()
		r.cstring()
	case 'O':
		r.skip(8) // the commit's LSN at the origin
		r.cstring()
	case 'M':
		r.skip(9) // flags, LSN
		r.cstring()
		r.skip(int(r.length()))
	default:
		return &DecodeError{Message: msg[0], Reason: "unknown kind"}
	}
	switch {
	case err != nil:
		return err
	case r.bad != "":
		return &DecodeError{Message: msg[0], Reason: r.bad}
	case len(r.b) != 0:
		return &DecodeError{Message: msg[0], Reason: fmt.Sprintf("%d bytes too many", len(r.b))}
	}
	return nil
}

func (d *decoder) begin(r *reader, ch *change) error {
	r.skip(16) // LSN and time of the commit
	ch.kind, ch.xid = kindBegin, r.uint32()
	if d.inTx {
		return &DecodeError{Message: 'B', Reason: "begin within a transaction"}
	}
	d.inTx = true
	return nil
}

func (d *decoder) commit(r *reader, ch *change) error {
	r.skip(9) // flags, the commit record's LSN
	ch.kind, ch.end = kindCommit, r.uint64()
	r.skip(8) // time
	if !d.inTx {
		return &DecodeError{Message: 'C', Reason: "commit without a transaction"}
	}
	d.inTx = false
	return nil
}

func (d *decoder) truncate(r *reader, ch *change) error {
	n := r.length()
	r.skip(1) // cascade, restart identity
	if int64(n)*4 != int64(len(r.b)) {
		return &DecodeError{Message: 'T', Reason: "length does not match the number of tables"}
	}
	if !d.inTx {
		return &DecodeError{Message: 'T', Reason: "outside of a transaction"}
	}
	for range n {
		rel, ok := d.relations[r.uint32()]
		if !ok {
			return &DecodeError{Message: 'T', Reason: "of a table not described before"}
		}
		if rel.users {
			ch.kind = kindTruncate
		}
	}
	return nil
}

// relation reads the description of a table, sent before its first row and again after it changed.
func (d *decoder) relation(r *reader) error {
	oid := r.uint32()
	schema, table := r.cstring(), r.cstring()
	r.skip(1) // replica identity
	n := int(r.uint16())
	if n > maxColumns {
		return &DecodeError{Message: 'R', Reason: "more columns than a table can have"}
	}
	rel := relation{users: string(schema) == "commerce" && string(table) == "users", columns: n, id: -1, name: -1}
	var idIsKey bool
	for i := range n {
		flags := r.byte() // 1: part of the replica identity
		column := r.cstring()
		r.skip(8) // type, type modifier
		switch string(column) {
		case "id":
			rel.id, idIsKey = i, flags&1 != 0
		case "username":
			rel.name = i
		}
	}
	switch {
	case r.bad != "" || len(r.b) != 0:
		return nil // decode says what is wrong
	case !rel.users && d.usersOID != 0 && oid == d.usersOID:
		return &SchemaError{Reason: "it was renamed"}
	case rel.users && d.usersOID != 0 && oid != d.usersOID:
		return &SchemaError{Reason: "another table has its name"}
	case rel.users && (rel.id < 0 || rel.name < 0):
		return &SchemaError{Reason: "no column id or username in the publication"}
	case rel.users && !idIsKey:
		return &SchemaError{Reason: "the column id is no part of its replica identity"}
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

func (d *decoder) row(message byte, r *reader, ch *change) error {
	if !d.inTx {
		return &DecodeError{Message: message, Reason: "outside of a transaction"}
	}
	rel, ok := d.relations[r.uint32()]
	if !ok {
		return &DecodeError{Message: message, Reason: "of a table not described before"}
	}
	if !rel.users {
		clear(r.b)
		r.b = nil
		return nil
	}
	part := r.byte()
	if message != 'I' && (part == 'K' || part == 'O') {
		var oldName text
		if err := d.tuple(r, rel, message, &ch.old, &oldName); err != nil {
			return err
		}
		ch.hasOld = true
		if message == 'D' {
			ch.kind = kindDelete
			return nil
		}
		// Under REPLICA IDENTITY FULL the old row holds the value that the new one leaves out. A key holds NULL there.
		if part == 'O' {
			ch.name = oldName
		}
		part = r.byte()
	}
	if part != 'N' || message == 'D' {
		return &DecodeError{Message: message, Reason: "no row where one must be"}
	}
	name := ch.name
	if err := d.tuple(r, rel, message, &ch.id, &ch.name); err != nil {
		return err
	}
	if ch.name.state == textUnchanged && name.state == textValue {
		ch.name = name
	}
	ch.kind = kindInsert
	if message == 'U' {
		ch.kind = kindUpdate
	}
	return nil
}

// tuple reads a row, keeps id and name, and overwrites everything else.
func (d *decoder) tuple(r *reader, rel relation, message byte, id *key, name *text) error {
	if n := int(r.uint16()); n != rel.columns && r.bad == "" {
		return &DecodeError{Message: message, Reason: fmt.Sprintf("%d columns, not %d", n, rel.columns)}
	}
	for i := range rel.columns {
		var value text
		switch format := r.byte(); format {
		case 'n':
			value.state = textNull
		case 'u':
		case 't':
			value.state = textValue
			value.bytes = r.take(int(r.length()))
		default:
			if r.bad != "" {
				return nil // decode says what is wrong
			}
			return &DecodeError{Message: message, Reason: fmt.Sprintf("column format %q", format)}
		}
		switch i {
		case rel.id:
			if value.state == textValue {
				n, ok := parseID(value.bytes)
				if !ok && r.bad == "" {
					return &DecodeError{Message: message, Reason: "an id that is no number"}
				}
				if n >= math.MinInt32 && n <= math.MaxInt32 {
					*id = key{value: int32(n), ok: true}
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

// parseID reads the text form of an int2, int4 or int8.
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
