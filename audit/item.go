package audit

import (
	"cmp"
	"encoding/binary"
)

// topic is one of the two topics.
type topic byte

const (
	topicClicks topic = iota
	topicCheckouts
)

// kind says what an item is. Among items that are otherwise ordered alike, kinds come in this order.
type kind byte

const (
	kindUser kind = iota // a user that exists: user, and name where names are compared
	kindRow
	kindClick
	kindCheckout
	kindDeadLetter // firstclick.dead_letters: values are reason, status, topic id
	kindLate       // firstclick.late: values are "", "", topic id
	kindClaim      // a row's click that Kafka may have lost
	kindTrial      // a checkout whose row, or whose first click in it, Postgres refused
	kindFix        // a row that Repair moves from its click to the first of clicks that Postgres accepts
)

// What is known about a record, a row or a note in firstclick.late.
const (
	flagLate         = 1 << iota // in firstclick.late, not repaired: it may or may not have had its effect
	flagPending                  // at or above the stored positions: likewise
	flagConflict                 // it has a dead letter because its content is not its row's
	flagRefused                  // it has a dead letter because Postgres refused the row
	flagResolved                 // that dead letter was retried or dropped
	flagOptional                 // it need not have had an effect: somebody retried its dead letter
	flagJudged                   // its row was already found different
	flagSeveral                  // records of several users may have written its row
	flagRow                      // there is a row
	flagTimed                    // the row has a checkout_time
	flagName                     // the row's user_name is to be compared
	flagBefore                   // below the group's start: nobody demands its effect, and it is no answer
	flagEarly                    // of flagLate: recorded before the event can have been too late
	flagAhead                    // of flagLate: dated ahead of the clock; a restart may have forgotten it
	flagRefusedClick             // it has a dead letter because Postgres refused its row's first click
	flagSkipped                  // of flagBefore: only for want of a timestamp; its event time is not before the start
)

// event is a click or a checkout.
type event struct {
	id      string
	user    int32
	product string
	time    int64      // microseconds since the Unix epoch
	values  []optional // of a checkout, in the order of ownColumns
}

// item is the one type that is sorted on disk. What a field means depends on the kind; fields that
// a kind does not use are zero.
type item struct {
	kind      kind
	topic     topic
	partition int32
	offset    int64
	flags     int32
	event
	name   optional // user_name
	click  click    // of the row
	clicks []click
}

// optional is a text that may be NULL.
type optional struct {
	text  string
	valid bool
}

func some(s string) optional { return optional{text: s, valid: true} }

func (o optional) String() string {
	if !o.valid {
		return "NULL"
	}
	return quote(o.text)
}

// pointer is nil for NULL.
func (o optional) pointer() *string {
	if !o.valid {
		return nil
	}
	return &o.text
}

func optionalOf(text *string) optional {
	if text == nil {
		return optional{}
	}
	return some(*text)
}

// click is a click as a row holds it. The zero value is no click.
type click struct {
	id   string
	time int64
	set  byte // hasID, hasTime
}

const (
	hasID   = 1
	hasTime = 2
	whole   = hasID | hasTime
)

func (c click) ok() bool { return c.set&hasID != 0 }

// odd says that click_id and click_time are not both set or both NULL.
func (c click) odd() bool { return c.set == hasID || c.set == hasTime }

func (c click) String() string {
	id := optional{c.id, c.set&hasID != 0}
	switch {
	case c.set == 0:
		return "no click"
	case c.set&hasTime != 0:
		return "click " + id.String() + " at " + formatTime(c.time)
	default:
		return "click " + id.String() + " without a time"
	}
}

// compare orders by time and id. No click is the greatest: any click is better.
func (c click) compare(o click) int {
	switch {
	case c.ok() && o.ok():
		return cmp.Or(cmp.Compare(c.time, o.time), cmp.Compare(c.id, o.id))
	case c.ok():
		return -1
	case o.ok():
		return 1
	default:
		return 0
	}
}

// order is the sequence in which an item's fields are encoded, and so how items are sorted.
type order []field

type field byte

const (
	fieldKind field = iota
	fieldTopic
	fieldPartition
	fieldOffset
	fieldFlags
	fieldID
	fieldUser
	fieldProduct
	fieldTime
	fieldName
	fieldClick
	fieldClicks
	fieldValues
)

var (
	// byID brings a checkout_id's row and records together: the row first, then records by place.
	byID = order{fieldID, fieldKind, fieldPartition, fieldOffset, fieldFlags, fieldUser, fieldProduct, fieldTime,
		fieldName, fieldClick, fieldClicks, fieldValues}
	// byKey brings a user, and the clicks and checkouts of one user and product, together by time.
	// Clicks at the instant of a checkout come before it.
	byKey = order{fieldUser, fieldProduct, fieldTime, fieldKind, fieldID, fieldPartition, fieldOffset, fieldFlags,
		fieldName, fieldClick, fieldValues}
	// byPlace is the order of the partitions.
	byPlace = order{fieldTopic, fieldPartition, fieldOffset, fieldKind, fieldFlags, fieldID, fieldUser, fieldProduct,
		fieldTime, fieldValues}
	// byKind is byID, each kind for itself.
	byKind = append(order{fieldKind, fieldID}, byID[2:]...)
)

// Fields are encoded so that bytes.Compare orders items as their fields are: a text ends with a zero
// byte (none holds one: Postgres cannot store it), integers are big-endian with the sign turned.

func appendText(b []byte, s string) []byte { return append(append(b, s...), 0) }

func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)^1<<63) }

func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)^1<<31) }

func appendOptional(b []byte, o optional) []byte {
	if !o.valid {
		return append(b, 0)
	}
	return appendText(append(b, 1), o.text)
}

func appendClick(b []byte, c click) []byte {
	if c.set == 0 {
		return append(b, 0)
	}
	return appendInt64(appendText(append(b, c.set), c.id), c.time)
}

// append encodes x behind b.
func (o order) append(b []byte, x *item) []byte {
	for _, f := range o {
		switch f {
		case fieldKind:
			b = append(b, byte(x.kind))
		case fieldTopic:
			b = append(b, byte(x.topic))
		case fieldPartition:
			b = appendInt32(b, x.partition)
		case fieldOffset:
			b = appendInt64(b, x.offset)
		case fieldFlags:
			b = appendInt32(b, x.flags)
		case fieldID:
			b = appendText(b, x.id)
		case fieldUser:
			b = appendInt32(b, x.user)
		case fieldProduct:
			b = appendText(b, x.product)
		case fieldTime:
			b = appendInt64(b, x.time)
		case fieldName:
			b = appendOptional(b, x.name)
		case fieldClick:
			b = appendClick(b, x.click)
		case fieldClicks:
			for _, c := range x.clicks {
				b = appendClick(b, c)
			}
			b = append(b, 0)
		case fieldValues:
			b = append(b, byte(len(x.values)))
			for _, v := range x.values {
				b = appendOptional(b, v)
			}
		}
	}
	return b
}

// parse decodes into x, which may hold another item of the same order.
func (o order) parse(encoded []byte, x *item) {
	d := decoder(encoded)
	for _, f := range o {
		switch f {
		case fieldKind:
			x.kind = kind(d.byte())
		case fieldTopic:
			x.topic = topic(d.byte())
		case fieldPartition:
			x.partition = d.int32()
		case fieldOffset:
			x.offset = d.int64()
		case fieldFlags:
			x.flags = d.int32()
		case fieldID:
			x.id = d.text("")
		case fieldUser:
			x.user = d.int32()
		case fieldProduct:
			x.product = d.text(x.product)
		case fieldTime:
			x.time = d.int64()
		case fieldName:
			x.name = d.optional()
		case fieldClick:
			x.click = d.click()
		case fieldClicks:
			x.clicks = nil
			for c := d.click(); c.set != 0; c = d.click() {
				x.clicks = append(x.clicks, c)
			}
		case fieldValues:
			x.values = nil
			if n := d.byte(); n > 0 {
				x.values = make([]optional, n)
			}
			for i := range x.values {
				x.values[i] = d.optional()
			}
		}
	}
}

// decoder is what is left of an encoded item.
type decoder []byte

// text reuses same where that is the text.
func (d *decoder) text(same string) string {
	for i, c := range *d {
		if c == 0 {
			s := (*d)[:i]
			*d = (*d)[i+1:]
			if string(s) == same {
				return same
			}
			return string(s)
		}
	}
	panic("audit: sort item without the end of a text")
}

func (d *decoder) int64() int64 {
	v := int64(binary.BigEndian.Uint64(*d) ^ 1<<63)
	*d = (*d)[8:]
	return v
}

func (d *decoder) int32() int32 {
	v := int32(binary.BigEndian.Uint32(*d) ^ 1<<31)
	*d = (*d)[4:]
	return v
}

func (d *decoder) byte() byte {
	c := (*d)[0]
	*d = (*d)[1:]
	return c
}

func (d *decoder) optional() optional {
	if d.byte() == 0 {
		return optional{}
	}
	return some(d.text(""))
}

func (d *decoder) click() (c click) {
	if c.set = d.byte(); c.set != 0 {
		c.id, c.time = d.text(""), d.int64()
	}
	return c
}
