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

// count encodes the length of a list of at most 255.
func (c *coder) count(n int) int {
	v := byte(n)
	c.byte(&v)
	return int(v)
}

func (c *coder) optional(v *optional) {
	if v.valid = c.count(int(bit(v.valid))) == 1; v.valid {
		c.text(&v.text)
	} else {
		v.text = ""
	}
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func (c *coder) click(v *click) {
	if c.byte(&v.set); v.set == 0 {
		*v = click{}
		return
	}
	c.text(&v.id)
	c.int64(&v.time)
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
			if n := c.count(len(x.clicks)); c.decodes {
				x.clicks = make([]click, n)
			}
			for i := range x.clicks {
				c.click(&x.clicks[i])
			}
		case fieldValues:
			if n := c.count(len(x.values)); c.decodes {
				x.values = make([]optional, n)
			}
			for i := range x.values {
				c.optional(&x.values[i])
			}
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
