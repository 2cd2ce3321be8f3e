package decode

import (
	"fmt"
	"time"
	"unicode/utf8"

	"firstclick/join/event"
)

// Click is a decoded click. Product holds until the decoder's next call.
type Click struct {
	User    int32
	Product []byte
	ID      event.ID
	Time    int64 // micros
}

// Decoder decodes events. One goroutine at a time may use it.
type Decoder struct {
	zone  *time.Location
	scan  scanner
	field [fields]span       // of the record's members
	bad   *event.DecodeError // why the record is not an event
	text  []byte             // texts of the record that do not stand in it as they are
	forms [maxForms + 1]form // of records before, the one last used first; the last one is being learned
}

// New returns a decoder that reads times without a zone in zone (nil: UTC).
func New(zone *time.Location) *Decoder {
	if zone == nil {
		zone = time.UTC
	}
	return &Decoder{zone: zone}
}

// LetGo forgets the last record. The record may share the memory of a whole fetch.
func (d *Decoder) LetGo() { d.scan.b = nil }

// The members that are used: those of event.Columns from fieldColumns on, then these.
const (
	fieldNone    = 0
	fieldColumns = 1
	fieldClickID = fieldColumns + len(event.Columns) + iota - 2
	fieldUserID
	fieldTime
	fields
)

var memberNames = func() (names [fields]string) {
	for n, c := range event.Columns {
		names[fieldColumns+n] = c.Name
	}
	names[fieldClickID], names[fieldUserID], names[fieldTime] = "click_id", "user_id", "datetime_occured"
	return names
}()

// member finds the field of a member name.
func member(name []byte) int {
	for field, known := range memberNames[1:] {
		if string(name) == known {
			return field + 1
		}
	}
	return fieldNone
}

// Click decodes a click: nil or *event.DecodeError, after which c holds nothing of use.
func (d *Decoder) Click(value []byte, c *Click) error {
	d.object(value)
	id := d.id(fieldClickID, event.ReasonClickID)
	c.User = d.user()
	product := d.id(fieldColumns+event.ColumnProduct, event.ReasonProductID)
	c.Time = d.time()
	if d.bad != nil {
		return d.bad
	}
	c.ID, c.Product = event.MakeID(d.bytes(id)), d.bytes(product)
	return nil
}

// Checkout decodes a checkout: nil or *event.DecodeError, after which k holds nothing of use. It
// appends what the checkout keeps of the record to slab, and returns slab.
func (d *Decoder) Checkout(value []byte, k *event.Checkout, slab []byte) ([]byte, error) {
	d.object(value)
	id := d.id(fieldColumns+event.ColumnID, event.ReasonCheckoutID)
	k.User = d.user()
	product := d.id(fieldColumns+event.ColumnProduct, event.ReasonProductID)
	k.Time = d.time()
	for column := range event.Columns {
		if event.Columns[column].Kind == event.KindNumber {
			k.Set(column, d.number(fieldColumns+column))
		}
	}
	for column := range event.Columns { // after the numbers: docs/semantics.md says which reason comes first
		if event.Columns[column].Kind == event.KindText {
			k.Set(column, d.optional(fieldColumns+column))
		}
	}
	if d.bad != nil {
		return slab, d.bad
	}
	k.ID = event.MakeID(d.bytes(id))
	k.Set(event.ColumnID, id)
	k.Set(event.ColumnProduct, product)
	from := len(slab)
	slab = append(append(slab, value...), d.text...)
	k.Keep(slab[from:len(slab):len(slab)], len(value))
	return slab, nil
}

// refuse says why the record is not an event, unless that was said already.
func (d *Decoder) refuse(reason event.Reason, detail string) {
	if d.bad == nil {
		d.bad = &event.DecodeError{Reason: reason, Detail: detail}
	}
}

// bytes is the text of a span: a part of the record or, behind its end, of d.text.
func (d *Decoder) bytes(s event.Span) []byte {
	if n := uint32(len(d.scan.b)); s.From >= n {
		return d.text[s.From-n : s.To-n : s.To-n]
	}
	return d.scan.b[s.From:s.To]
}

// object checks the whole value and finds the members that are used. Of several members with one
// name the last one counts.
func (d *Decoder) object(value []byte) {
	d.bad, d.text = nil, d.text[:0]
	d.field = [fields]span{}
	s := &d.scan
	s.b, s.seen = value, 0
	switch {
	case len(value) == 0:
		d.refuse(event.ReasonEmpty, "no value")
	case len(value) > event.MaxRecord:
		d.refuse(event.ReasonTooLarge, fmt.Sprintf("%d bytes, at most %d", len(value), event.MaxRecord))
	case !d.known():
		d.field, s.seen = [fields]span{}, 0
		d.unknown()
	}
	if d.bad == nil && s.seen >= 0x80 && !utf8.Valid(value) {
		d.refuse(event.ReasonText, "invalid UTF-8")
	}
}

// unknown reads a record of no form that is known.
func (d *Decoder) unknown() {
	s := &d.scan
	var end int
	i := s.space(0)
	object := i < len(s.b) && s.b[i] == '{'
	if object {
		end = d.members(i + 1)
	} else {
		end = s.value(i, 0)
	}
	switch {
	case end < 0 || s.space(end) != len(s.b):
		d.refuse(event.ReasonJSON, whereInvalid(s.b))
	case !object:
		d.refuse(event.ReasonShape, "not an object: "+quote(s.b[i:end]))
	}
}

// members reads the members of the outermost object, from behind its brace. It returns where the
// object ends, or -1.
func (d *Decoder) members(i int) int {
	s := &d.scan
	b := s.b
	learned, from := &d.forms[maxForms], 0
	learned.begin()
	i = s.space(i)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return -1
		}
		end, escaped := s.str(i + 1)
		if end < 0 {
			return -1
		}
		name := b[i+1 : end-1]
		if escaped {
			name = d.name(name)
		}
		f := member(name)
		i = s.space(end)
		if i >= len(b) || b[i] != ':' {
			return -1
		}
		i = s.space(i + 1)
		if i >= len(b) {
			return -1
		}
		escaped = false
		if b[i] == '"' {
			learned.add(b[from:i+1], f, true)
			end, escaped = s.str(i + 1)
		} else {
			learned.add(b[from:i], f, false)
			end = s.value(i, 1)
		}
		if end < 0 {
			return -1
		}
		if f != fieldNone {
			d.field[f] = span{event.Span{From: uint32(i), To: uint32(end)}, escaped}
		}
		from = end
		i = s.space(end)
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case '}':
			if s.space(i+1) == len(b) {
				d.learn(b[from:])
			}
			return i + 1
		case ',':
			i = s.space(i + 1)
		default:
			return -1
		}
	}
}
