package join

import (
	"fmt"
	"time"
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
	ReasonText       Reason = "text"     // NUL, a lone surrogate or invalid UTF-8, or a text that is another JSON type
	ReasonRefused    Reason = "refused"  // Postgres refused the row
	ReasonConflict   Reason = "conflict" // other content under a checkout_id that has a row
)

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
	zone *time.Location
}

// NewDecoder returns a decoder that reads times without a zone in zone (nil: UTC).
func NewDecoder(zone *time.Location) *Decoder {
	if zone == nil {
		zone = time.UTC
	}
	return &Decoder{zone: zone}
}
