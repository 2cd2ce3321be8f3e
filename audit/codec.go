package audit

import (
	"bytes"
	"encoding/binary"
)

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

// coder encodes an item's fields behind b, or decodes them from b. Fields are encoded so that
// bytes.Compare orders items as their fields are: a text ends with a zero byte (none holds one:
// Postgres cannot store it), integers are big-endian with the sign turned.
type coder struct {
	b       []byte
	decodes bool
}

func (c *coder) byte(v *byte) {
	if !c.decodes {
		c.b = append(c.b, *v)
		return
	}
	*v, c.b = c.b[0], c.b[1:]
}

func (c *coder) int32(v *int32) {
	if !c.decodes {
		c.b = binary.BigEndian.AppendUint32(c.b, uint32(*v)^1<<31)
		return
	}
	*v, c.b = int32(binary.BigEndian.Uint32(c.b)^1<<31), c.b[4:]
}

func (c *coder) int64(v *int64) {
	if !c.decodes {
		c.b = binary.BigEndian.AppendUint64(c.b, uint64(*v)^1<<63)
		return
	}
	*v, c.b = int64(binary.BigEndian.Uint64(c.b)^1<<63), c.b[8:]
}

func (c *coder) text(v *string) {
	if !c.decodes {
		c.b = append(append(c.b, *v...), 0)
		return
	}
	end := bytes.IndexByte(c.b, 0)
	if string(c.b[:end]) != *v { // else the text of the item before is used again
		*v = string(c.b[:end])
	}
	c.b = c.b[end+1:]
}

func (c *coder) optional(v *optional) {
	valid := byte(0)
	if v.valid {
		valid = 1
	}
	if c.byte(&valid); valid == 0 {
		*v = optional{}
		return
	}
	v.valid = true
	c.text(&v.text)
}

func (c *coder) click(v *click) {
	if c.byte(&v.set); v.set == 0 {
		*v = click{}
		return
	}
	c.text(&v.id)
	c.int64(&v.time)
}

// list is of at most 255.
func list[T any](c *coder, v *[]T, one func(*coder, *T)) {
	n := byte(len(*v))
	if c.byte(&n); c.decodes {
		*v = make([]T, n)
	}
	for i := range *v {
		one(c, &(*v)[i])
	}
}

// item encodes x, or decodes into x, which may hold another item of the same order.
func (c *coder) item(o order, x *item) {
	for _, f := range o {
		switch f {
		case fieldKind:
			c.byte((*byte)(&x.kind))
		case fieldTopic:
			c.byte((*byte)(&x.topic))
		case fieldPartition:
			c.int32(&x.partition)
		case fieldOffset:
			c.int64(&x.offset)
		case fieldFlags:
			c.int32(&x.flags)
		case fieldID:
			c.text(&x.id)
		case fieldUser:
			c.int32(&x.user)
		case fieldProduct:
			c.text(&x.product)
		case fieldTime:
			c.int64(&x.time)
		case fieldName:
			c.optional(&x.name)
		case fieldClick:
			c.click(&x.click)
		case fieldClicks:
			list(c, &x.clicks, (*coder).click)
		case fieldValues:
			list(c, &x.values, (*coder).optional)
		}
	}
}

func (o order) append(b []byte, x *item) []byte {
	c := coder{b: b}
	c.item(o, x)
	return c.b
}

func (o order) parse(encoded []byte, x *item) {
	c := coder{b: encoded, decodes: true}
	c.item(o, x)
}
