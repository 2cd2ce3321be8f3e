package datagen

import (
	"strconv"
	"time"
)

// uuid holds the 16 bytes of a version 4 UUID.
type uuid [16]byte

const hexDigits = "0123456789abcdef"

// append writes the canonical lower-case text.
func (u uuid) append(dst []byte) []byte {
	var t [36]byte
	at := 0
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			t[at] = '-'
			at++
		}
		t[at], t[at+1] = hexDigits[b>>4], hexDigits[b&15]
		at += 2
	}
	return append(dst, t[:]...)
}

// appendString writes s as Python's json.dumps does: only printable ASCII stands for itself, the rest is \u escapes in
// lower-case hex, with surrogate pairs beyond the BMP. s is valid UTF-8.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == '\b':
			dst = append(dst, '\\', 'b')
		case r == '\f':
			dst = append(dst, '\\', 'f')
		case r >= ' ' && r <= '~':
			dst = append(dst, byte(r))
		case r > 0xFFFF:
			r -= 0x10000
			dst = appendEscape(dst, 0xD800+uint16(r>>10))
			dst = appendEscape(dst, 0xDC00+uint16(r&0x3FF))
		default:
			dst = appendEscape(dst, uint16(r))
		}
	}
	return append(dst, '"')
}

func appendEscape(dst []byte, u uint16) []byte {
	return append(dst, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}

// appendCents writes cents/100 as Python prints that float: the shortest digits, and always a point (80.0, 14.3, 5.93).
func appendCents(dst []byte, cents int) []byte {
	dst = strconv.AppendInt(dst, int64(cents/100), 10)
	tens, ones := byte(cents/10%10), byte(cents%10)
	dst = append(dst, '.', '0'+tens)
	if ones != 0 {
		dst = append(dst, '0'+ones)
	}
	return dst
}

// clockText writes event times as the wire has them, naive UTC with milliseconds, and keeps the text of the last second.
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

// event is what a click or checkout is about; the rest of its members are drawn while it is encoded.
type event struct {
	id      uuid
	user    int32
	product uuid
	time    int64 // microseconds
}

// encoder writes events as the original generator does: its members in its order, ", " and ": " between them.
type encoder struct {
	pools *pools
	clock clockText
}

func (e *encoder) click(dst []byte, src *source, ev *event) []byte {
	r := src.Uint64()
	dst = append(dst, `{"click_id": "`...)
	dst = ev.id.append(dst)
	dst = append(dst, `", "user_id": `...)
	dst = strconv.AppendInt(dst, int64(ev.user), 10)
	dst = append(dst, `, "product_id": "`...)
	dst = ev.product.append(dst)
	dst = append(dst, `", "product": `...)
	dst = append(dst, e.pools.words.pick(&r)...)
	dst = append(dst, `, "price": `...)
	dst = appendCents(dst, 1+int(src.below(9_999)))
	dst = append(dst, `, "url": `...)
	dst = append(dst, e.pools.urls.pick(&r)...)
	dst = append(dst, `, "user_agent": `...)
	dst = append(dst, e.pools.agents.pick(&r)...)
	dst = append(dst, `, "ip_address": `...)
	dst = append(dst, e.pools.ips.pick(&r)...)
	return e.end(dst, ev)
}

// maxCents is the largest amount of a checkout in cents: the original's three digits before the point.
const maxCents = 99_999

func (e *encoder) checkout(dst []byte, src *source, ev *event, cents int) []byte {
	r, s := src.Uint64(), src.Uint64()
	dst = append(dst, `{"checkout_id": "`...)
	dst = ev.id.append(dst)
	dst = append(dst, `", "user_id": `...)
	dst = strconv.AppendInt(dst, int64(ev.user), 10)
	dst = append(dst, `, "product_id": "`...)
	dst = ev.product.append(dst)
	dst = append(dst, `", "payment_method": `...)
	dst = append(dst, e.pools.payments.pick(&r)...)
	dst = append(dst, `, "total_amount": `...)
	dst = appendCents(dst, cents)
	dst = append(dst, `, "shipping_address": `...)
	dst = append(dst, e.pools.addresses.pick(&s)...)
	dst = append(dst, `, "billing_address": `...)
	dst = append(dst, e.pools.addresses.pick(&s)...)
	dst = append(dst, `, "user_agent": `...)
	dst = append(dst, e.pools.agents.pick(&r)...)
	dst = append(dst, `, "ip_address": `...)
	dst = append(dst, e.pools.ips.pick(&r)...)
	return e.end(dst, ev)
}

func (e *encoder) end(dst []byte, ev *event) []byte {
	dst = append(dst, `, "datetime_occured": "`...)
	dst = e.clock.append(dst, ev.time)
	return append(dst, '"', '}')
}

// member finds the value of a member of the first level in an event of ours: from and to are its bounds.
func member(value []byte, name string) (from, to int) {
	key := `"` + name + `": `
	for i := 0; i+len(key) <= len(value); i++ {
		if string(value[i:i+len(key)]) != key {
			continue
		}
		from = i + len(key)
		to = from
		for quoted := false; to < len(value) && (quoted || value[to] != ',' && value[to] != '}'); to++ {
			switch {
			case value[to] == '\\':
				to++
			case value[to] == '"':
				quoted = !quoted
			}
		}
		return from, to
	}
	return -1, -1
}

// texts is one pre-encoded JSON string per element; the number of elements is a power of two.
type texts struct {
	all  [][]byte
	bits uint
}

// pick takes its bits of r.
func (t *texts) pick(r *uint64) []byte {
	i := *r & (1<<t.bits - 1)
	*r >>= t.bits
	return t.all[i]
}

// newTexts encodes 1<<bits values that next gives.
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
