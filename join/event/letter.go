package event

import (
	"crypto/sha256"
	"fmt"
)

// MaxRecord is the size in bytes of the largest value that is decoded; a larger one is
// ReasonTooLarge.
const MaxRecord = 1 << 20

// MaxID is the length in bytes of the longest id (click_id, checkout_id, product_id).
const MaxID = 255

// Reason says in one stable word why a record is a dead letter.
type Reason string

// The reasons. The decoder gives those up to ReasonTime, ReasonAmount and ReasonText.
const (
	ReasonEmpty      Reason = "empty"
	ReasonTooLarge   Reason = "too_large"
	ReasonJSON       Reason = "json"  // not valid JSON (RFC 8259), or nested too deep
	ReasonShape      Reason = "shape" // JSON, but not an object
	ReasonClickID    Reason = "click_id"
	ReasonCheckoutID Reason = "checkout_id"
	ReasonUserID     Reason = "user_id"
	ReasonProductID  Reason = "product_id"
	ReasonTime       Reason = "time"
	ReasonFuture     Reason = "future" // further ahead of its record's timestamp than the guard allows
	ReasonAmount     Reason = "amount"
	ReasonText       Reason = "text"    // NUL, a lone surrogate or invalid UTF-8, or a text that is another JSON type
	ReasonRefused    Reason = "refused" // Postgres refused the row
	// ReasonRefusedClick: the checkout has its row, but Postgres refused its first click there. The
	// row has the next click or none.
	ReasonRefusedClick Reason = "refused_click"
	ReasonConflict     Reason = "conflict" // other content under a checkout_id that has a row
	// ReasonUnreadable: a batch of records that does not decompress, or not within the memory for
	// it.
	ReasonUnreadable Reason = "unreadable"
)

// Reasons are all that a dead letter can have, in the order of docs/operations.md.
func Reasons() []Reason {
	return []Reason{
		ReasonEmpty, ReasonTooLarge, ReasonJSON, ReasonShape, ReasonClickID, ReasonCheckoutID,
		ReasonUserID, ReasonProductID, ReasonTime, ReasonFuture, ReasonAmount, ReasonText,
		ReasonRefused, ReasonRefusedClick, ReasonConflict, ReasonUnreadable,
	}
}

// DecodeError says why a record is not an event. Detail is for people; it quotes at most 100 bytes
// of the record and is always valid UTF-8 without NUL.
type DecodeError struct {
	Reason Reason
	Detail string
}

// Error implements error.
func (e *DecodeError) Error() string { return fmt.Sprintf("%s: %s", e.Reason, e.Detail) }

// DeadLetter is a record that does not become a row. The same (group, topic, topic id, partition,
// offset) is stored once.
type DeadLetter struct {
	Topic      string
	TopicID    [16]byte
	Partition  int32
	Offset     int64
	Reason     Reason
	Detail     string // made valid UTF-8 without NUL before it is stored
	Payload    []byte // nil: the record had no value, or it is not kept
	Size       int64  // of a payload that is not kept, else 0
	Sum        [sha256.Size]byte
	RecordTime int64 // micros, or NoTime
	Again      bool  // another transaction may have written it, or be about to
	Unread     bool  // the record's value is not at hand: its size and hash are not known either
}
