package join

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// MaxRecord is the size in bytes of the largest value that is decoded; a larger one is ReasonTooLarge.
const MaxRecord = 1 << 20

// MaxID is the length in bytes of the longest id (click_id, checkout_id, product_id).
const MaxID = 255

// Reason says in one stable word why a record is a dead letter.
type Reason string

// The reasons. Decoder gives the first eight, ReasonTooLarge, ReasonAmount and ReasonText; the others come from elsewhere.
const (
	ReasonEmpty      Reason = "empty"
	ReasonJSON       Reason = "json"  // not valid JSON (RFC 8259), or nested too deep
	ReasonShape      Reason = "shape" // JSON, but not an object
	ReasonClickID    Reason = "click_id"
	ReasonCheckoutID Reason = "checkout_id"
	ReasonUserID     Reason = "user_id"
	ReasonProductID  Reason = "product_id"
	ReasonTime       Reason = "time"
	ReasonFuture     Reason = "future" // further ahead of its record's timestamp than the guard allows
	ReasonTooLarge   Reason = "too_large"
	ReasonAmount     Reason = "amount"
	ReasonText       Reason = "text"    // NUL, a lone surrogate or invalid UTF-8, or a text that is another JSON type
	ReasonRefused    Reason = "refused" // Postgres refused the row
	// ReasonRefusedClick: the checkout has its row, but Postgres refuses its first click there, and
	// it has the next one or none.
	ReasonRefusedClick Reason = "refused_click"
	ReasonConflict     Reason = "conflict" // other content under a checkout_id that has a row
	// ReasonUnreadable: a batch of records that does not decompress, or not in the memory that there is for it.
	ReasonUnreadable Reason = "unreadable"
)

// Reasons are all that a dead letter can have, in the order of docs/operations.md.
func Reasons() []Reason {
	return []Reason{
		ReasonEmpty, ReasonTooLarge, ReasonJSON, ReasonShape, ReasonClickID, ReasonCheckoutID, ReasonUserID, ReasonProductID,
		ReasonTime, ReasonFuture, ReasonAmount, ReasonText, ReasonRefused, ReasonRefusedClick, ReasonConflict, ReasonUnreadable,
	}
}

// DecodeError says why a record is no event. Detail is for people; it quotes at most 100 bytes of the record and is always
// valid UTF-8 without NUL.
type DecodeError struct {
	Reason Reason
	Detail string
}

// Error implements error.
func (e *DecodeError) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Detail) }

// Text is an optional text. B aliases the decoder's input or its buffer, and holds until the decoder's next call.
type Text struct {
	B     []byte
	Valid bool // false: absent or null
}

// Click is a decoded click. Product aliases like Text.B.
type Click struct {
	User    int32
	Product []byte
	ID      ID
	Time    int64 // micros
}

// Checkout is a decoded checkout. ID and Product alias like Text.B.
type Checkout struct {
	ID       []byte
	User     int32
	Product  []byte
	Payment  Text
	Amount   Text // plain decimal: [-]digits[.digits], no exponent, exact
	Shipping Text
	Billing  Text
	Agent    Text
	IP       Text
	Time     int64 // micros
}

// Decoder decodes events. One goroutine at a time may use it.
type Decoder struct {
	zone  *time.Location
	scan  scanner
	field [fields]span
	text  []byte             // unescaped texts of the last call
	forms [maxForms + 1]form // of records before, the one of use last first; the last is the one that is being learned
}

// NewDecoder returns a decoder that reads times without a zone in zone (nil: UTC).
func NewDecoder(zone *time.Location) *Decoder {
	if zone == nil {
		zone = time.UTC
	}
	return &Decoder{zone: zone}
}

// LetGo forgets the last record. It may lie in the memory of a whole fetch, which is kept for as long as anything of it is.
func (d *Decoder) LetGo() { d.scan.b = nil }

// The members that are used. Order matters nowhere but in memberNames.
const (
	fieldNone = iota
	fieldClickID
	fieldCheckoutID
	fieldUserID
	fieldProductID
	fieldTime
	fieldAmount
	fieldPayment
	fieldShipping
	fieldBilling
	fieldAgent
	fieldIP
	fields
)

var memberNames = [fields]string{"", "click_id", "checkout_id", "user_id", "product_id", "datetime_occured", "total_amount",
	"payment_method", "shipping_address", "billing_address", "user_agent", "ip_address"}

// member finds the field of a member name. It is a switch and not a map: no hashing, no allocation.
func member(name []byte) int {
	switch string(name) {
	case "click_id":
		return fieldClickID
	case "checkout_id":
		return fieldCheckoutID
	case "user_id":
		return fieldUserID
	case "product_id":
		return fieldProductID
	case "datetime_occured":
		return fieldTime
	case "total_amount":
		return fieldAmount
	case "payment_method":
		return fieldPayment
	case "shipping_address":
		return fieldShipping
	case "billing_address":
		return fieldBilling
	case "user_agent":
		return fieldAgent
	case "ip_address":
		return fieldIP
	}
	return fieldNone
}

// Click decodes a click: nil or *DecodeError, after which c holds nothing of use.
func (d *Decoder) Click(value []byte, c *Click) error {
	if e := d.object(value); e != nil {
		return e
	}
	id, e := d.id(fieldClickID, ReasonClickID)
	if e != nil {
		return e
	}
	if c.User, e = d.user(); e != nil {
		return e
	}
	if c.Product, e = d.id(fieldProductID, ReasonProductID); e != nil {
		return e
	}
	if c.Time, e = d.time(); e != nil {
		return e
	}
	c.ID = MakeID(id)
	return nil
}

// Checkout decodes a checkout: nil or *DecodeError, after which k holds nothing of use.
func (d *Decoder) Checkout(value []byte, k *Checkout) error {
	e := d.object(value)
	if e != nil {
		return e
	}
	if k.ID, e = d.id(fieldCheckoutID, ReasonCheckoutID); e != nil {
		return e
	}
	if k.User, e = d.user(); e != nil {
		return e
	}
	if k.Product, e = d.id(fieldProductID, ReasonProductID); e != nil {
		return e
	}
	if k.Time, e = d.time(); e != nil {
		return e
	}
	if k.Amount, e = d.amount(); e != nil {
		return e
	}
	if k.Payment, e = d.optional(fieldPayment); e != nil {
		return e
	}
	if k.Shipping, e = d.optional(fieldShipping); e != nil {
		return e
	}
	if k.Billing, e = d.optional(fieldBilling); e != nil {
		return e
	}
	if k.Agent, e = d.optional(fieldAgent); e != nil {
		return e
	}
	if k.IP, e = d.optional(fieldIP); e != nil {
		return e
	}
	return nil
}

// object checks the whole value and notes where its wanted members lie. The last of several members with one name counts.
func (d *Decoder) object(value []byte) *DecodeError {
	switch {
	case len(value) == 0:
		return &DecodeError{ReasonEmpty, "no value"}
	case len(value) > MaxRecord:
		return &DecodeError{ReasonTooLarge, fmt.Sprintf("%d bytes, at most %d", len(value), MaxRecord)}
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
		return &DecodeError{ReasonText, "invalid UTF-8"}
	}
	return nil
}

// unknown is object for a record of no form that is known.
func (d *Decoder) unknown(value []byte) *DecodeError {
	s := &d.scan
	i := s.space(0)
	if i == len(value) || value[i] != '{' {
		end := s.skip(i, 0)
		if end < 0 || s.space(end) != len(value) {
			return d.invalid()
		}
		return &DecodeError{ReasonShape, "not an object: " + quote(value[i:end])}
	}
	if end := d.members(i + 1); end < 0 || s.space(end) != len(value) {
		return d.invalid()
	}
	return nil
}

func (d *Decoder) invalid() *DecodeError {
	return &DecodeError{ReasonJSON, whereInvalid(d.scan.b)}
}

// members reads the members of the outermost object, from behind its brace. It returns where it ends, or -1.
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
			end = s.skip(i, 1)
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
