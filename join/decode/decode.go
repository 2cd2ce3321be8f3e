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
	if e := d.object(value); e != nil {
		return e
	}
	id, e := d.id(fieldClickID, event.ReasonClickID)
	if e != nil {
		return e
	}
	if c.User, e = d.user(); e != nil {
		return e
	}
	product, e := d.id(fieldColumns+event.ColumnProduct, event.ReasonProductID)
	if e != nil {
		return e
	}
	if c.Time, e = d.time(); e != nil {
		return e
	}
	c.ID, c.Product = event.MakeID(d.bytes(id)), d.bytes(product)
	return nil
}

// Checkout decodes a checkout: nil or *event.DecodeError, after which k holds nothing of use. It
// appends what the checkout keeps of the record to slab, and returns slab.
func (d *Decoder) Checkout(value []byte, k *event.Checkout, slab []byte) ([]byte, error) {
	e := d.object(value)
	if e != nil {
		return slab, e
	}
	id, e := d.id(fieldColumns+event.ColumnID, event.ReasonCheckoutID)
	if e != nil {
		return slab, e
	}
	if k.User, e = d.user(); e != nil {
		return slab, e
	}
	product, e := d.id(fieldColumns+event.ColumnProduct, event.ReasonProductID)
	if e != nil {
		return slab, e
	}
	if k.Time, e = d.time(); e != nil {
		return slab, e
	}
	k.ID = event.MakeID(d.bytes(id))
	k.Set(event.ColumnID, int(id.start), int(id.end))
	k.Set(event.ColumnProduct, int(product.start), int(product.end))
	for _, kind := range [...]event.Kind{event.KindNumber, event.KindText} { // in the order of their reasons
		for column := range event.Columns {
			if event.Columns[column].Kind != kind {
				continue
			}
			var text span
			if kind == event.KindNumber {
				text, e = d.number(fieldColumns + column)
			} else {
				text, e = d.optional(fieldColumns + column)
			}
			if e != nil {
				return slab, e
			}
			k.Set(column, int(text.start), int(text.end))
		}
	}
	from := len(slab)
	slab = append(append(slab, value...), d.text...)
	k.Keep(slab[from:len(slab):len(slab)], len(value))
	return slab, nil
}

func refuse(reason event.Reason, detail string) *event.DecodeError {
	return &event.DecodeError{Reason: reason, Detail: detail}
}

// bytes is the text of a span: a part of the record or, behind its end, of d.text.
func (d *Decoder) bytes(s span) []byte {
	if n := uint32(len(d.scan.b)); s.start >= n {
		return d.text[s.start-n : s.end-n : s.end-n]
	}
	return d.scan.b[s.start:s.end]
}

// object checks the whole value and finds the members that are used. Of several members with one
// name the last one counts.
func (d *Decoder) object(value []byte) *event.DecodeError {
	switch {
	case len(value) == 0:
		return refuse(event.ReasonEmpty, "no value")
	case len(value) > event.MaxRecord:
		return refuse(event.ReasonTooLarge, fmt.Sprintf("%d bytes, at most %d", len(value), event.MaxRecord))
	}
	d.text = d.text[:0]
	d.field = [fields]span{}
	s := &d.scan
	s.b, s.seen = value, 0
	if !d.known() {
		d.field, s.seen = [fields]span{}, 0
		if e := d.unknown(value); e != nil {
			return e
		}
	}
	if s.seen >= 0x80 && !utf8.Valid(value) {
		return refuse(event.ReasonText, "invalid UTF-8")
	}
	return nil
}

// unknown reads a record of no form that is known.
func (d *Decoder) unknown(value []byte) *event.DecodeError {
	s := &d.scan
	i, end := s.space(0), -1
	object := i < len(value) && value[i] == '{'
	if object {
		end = d.members(i + 1)
	} else {
		end = s.value(i, 0)
	}
	switch {
	case end < 0 || s.space(end) != len(value):
		return refuse(event.ReasonJSON, whereInvalid(value))
	case !object:
		return refuse(event.ReasonShape, "not an object: "+quote(value[i:end]))
	}
	return nil
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
			d.field[f] = span{start: uint32(i), end: uint32(end), escaped: escaped}
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
