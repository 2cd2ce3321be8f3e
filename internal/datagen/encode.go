package datagen

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// uuid holds the 16 bytes of a version 4 UUID.
type uuid [16]byte

// append writes the canonical lower-case text.
func (u *uuid) append(dst []byte) []byte {
	dst = append(hex.AppendEncode(dst, u[:4]), '-')
	dst = append(hex.AppendEncode(dst, u[4:6]), '-')
	dst = append(hex.AppendEncode(dst, u[6:8]), '-')
	dst = append(hex.AppendEncode(dst, u[8:10]), '-')
	return hex.AppendEncode(dst, u[10:])
}

// appendString writes s, which is valid UTF-8, as Python's json.dumps does: printable ASCII as it
// is, the rest as \u escapes in lower-case hex, with surrogate pairs beyond the BMP.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		i := strings.IndexRune("\"\\\n\r\t\b\f", r)
		switch {
		case i >= 0:
			dst = append(dst, '\\', "\"\\nrtbf"[i])
		case r >= ' ' && r <= '~':
			dst = append(dst, byte(r))
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				dst = fmt.Appendf(dst, `\u%04x`, unit)
			}
		}
	}
	return append(dst, '"')
}

// appendCents writes cents/100 as Python prints that float: the shortest digits, and always a point
// (80.0, 14.3, 5.93).
func appendCents(dst []byte, cents int) []byte {
	dst = strconv.AppendInt(dst, int64(cents/100), 10)
	tens, ones := byte(cents/10%10), byte(cents%10)
	dst = append(dst, '.', '0'+tens)
	if ones != 0 {
		dst = append(dst, '0'+ones)
	}
	return dst
}

// clockText writes event times as the original does, naive UTC with milliseconds. It caches the
// text of the last second.
type clockText struct {
	second int64
	text   []byte // "2006-01-02 15:04:05."
}

func (c *clockText) append(dst []byte, micros int64) []byte {
	second := micros / 1e6
	if second != c.second || c.text == nil {
		c.second = second
		c.text = time.Unix(second, 0).UTC().AppendFormat(c.text[:0], "2006-01-02 15:04:05.")
	}
	ms := int(micros / 1000 % 1000)
	dst = append(dst, c.text...)
	return append(dst, '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10))
}

// event has the members that a click and a checkout share. The others are drawn while it is
// encoded.
type event struct {
	id      uuid
	user    int32
	product uuid
	time    int64 // microseconds
}

// encoder writes events as the original does: the same members in the same order, and spaces after
// commas and colons.
type encoder struct {
	pools *pools
	clock clockText
}

func (e *encoder) click(dst []byte, src *source, ev *event) []byte {
	r := src.Uint64()
	dst = e.begin(append(dst, `{"click_id": "`...), ev)
	dst = append(dst, `", "product": `...)
	dst = append(dst, e.pools.words.pick(&r)...)
	dst = append(dst, `, "price": `...)
	dst = appendCents(dst, 1+int(src.below(9_999)))
	dst = append(dst, `, "url": `...)
	dst = append(dst, e.pools.urls.pick(&r)...)
	return e.end(dst, &r, ev)
}

// maxCents is the largest amount of a checkout in cents: the original's three digits before the
// point.
const maxCents = 99_999

func (e *encoder) checkout(dst []byte, src *source, ev *event, cents int) []byte {
	r, s := src.Uint64(), src.Uint64()
	dst = e.begin(append(dst, `{"checkout_id": "`...), ev)
	dst = append(dst, `", "payment_method": `...)
	dst = append(dst, e.pools.payments.pick(&r)...)
	dst = append(dst, `, "total_amount": `...)
	dst = appendCents(dst, cents)
	dst = append(dst, `, "shipping_address": `...)
	dst = append(dst, e.pools.addresses.pick(&s)...)
	dst = append(dst, `, "billing_address": `...)
	dst = append(dst, e.pools.addresses.pick(&s)...)
	return e.end(dst, &r, ev)
}

// begin writes the members from the id to the product_id, but for its closing quote.
func (e *encoder) begin(dst []byte, ev *event) []byte {
	dst = append(ev.id.append(dst), `", "user_id": `...)
	dst = append(strconv.AppendInt(dst, int64(ev.user), 10), `, "product_id": "`...)
	return ev.product.append(dst)
}

// end writes the members from the user_agent on.
func (e *encoder) end(dst []byte, r *uint64, ev *event) []byte {
	dst = append(dst, `, "user_agent": `...)
	dst = append(dst, e.pools.agents.pick(r)...)
	dst = append(dst, `, "ip_address": `...)
	dst = append(dst, e.pools.ips.pick(r)...)
	dst = append(dst, `, "datetime_occured": "`...)
	dst = e.clock.append(dst, ev.time)
	return append(dst, '"', '}')
}

// member returns the bounds of the value of a member in an encoded event.
func member(value []byte, name string) (from, to int) {
	key := `"` + name + `": `
	from = bytes.Index(value, []byte(key)) + len(key)
	to = from
	for quoted := false; quoted || value[to] != ',' && value[to] != '}'; to++ {
		switch value[to] {
		case '\\':
			to++
		case '"':
			quoted = !quoted
		}
	}
	return from, to
}

// texts are JSON strings, encoded once. Their number is a power of two.
type texts struct {
	all  [][]byte
	bits uint
}

// pick returns the text that the low bits of r select, and shifts them out.
func (t *texts) pick(r *uint64) []byte {
	i := *r & (1<<t.bits - 1)
	*r >>= t.bits
	return t.all[i]
}

// newTexts encodes the values next(0) to next(1<<bits - 1).
func newTexts(bits uint, next func(i int) string) texts {
	t := texts{all: make([][]byte, 1<<bits), bits: bits}
	ends := make([]int, len(t.all))
	var slab []byte
	for i := range t.all {
		slab = appendString(slab, next(i))
		ends[i] = len(slab)
	}
	from := 0
	for i, to := range ends {
		t.all[i] = slab[from:to:to]
		from = to
	}
	return t
}
