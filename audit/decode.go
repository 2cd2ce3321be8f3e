package audit

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

const (
	maxValue  = 1 << 20 // bytes of a record's value
	maxID     = 255     // bytes of an id
	maxAmount = 64      // characters of an amount
	maxExp    = 64      // of an amount's exponent, either way
)

// The reasons of dead letters, as firstclick.dead_letters has them.
const (
	reasonEmpty      = "empty"
	reasonTooLarge   = "too_large"
	reasonJSON       = "json"
	reasonShape      = "shape"
	reasonText       = "text"
	reasonClickID    = "click_id"
	reasonCheckoutID = "checkout_id"
	reasonUserID     = "user_id"
	reasonProductID  = "product_id"
	reasonTime       = "time"
	reasonAmount     = "amount"
	reasonFuture     = "future"
	reasonRefused    = "refused"
	reasonConflict   = "conflict"
	// reasonRefusedClick: the checkout has its row; Postgres refused its first click.
	reasonRefusedClick = "refused_click"
	reasonUnreadable   = "unreadable" // a batch, at its first offset
)

// ownColumn is a column that a checkout fills from its record.
type ownColumn struct {
	name, member string
	amount       bool // a number; else a text
}

// ownColumns lists them in the order of event.values. checkout_id and checkout_time are fields of
// event instead.
var ownColumns = []ownColumn{
	{name: "product_id", member: memberProduct},
	{name: "payment_method", member: "payment_method"},
	{name: "total_amount", member: "total_amount", amount: true},
	{name: "shipping_address", member: "shipping_address"},
	{name: "billing_address", member: "billing_address"},
	{name: "user_agent", member: "user_agent"},
	{name: "ip_address", member: "ip_address"},
}

// The members that a match needs.
const (
	memberClickID    = "click_id"
	memberCheckoutID = "checkout_id"
	memberUser       = "user_id"
	memberProduct    = "product_id"
	memberTime       = "datetime_occured"
)

// decode reads an event of the topic. reason is "", or the reason of the dead letter that it is.
func decode(t topic, value []byte, zone *time.Location) (e event, reason string) {
	members, reason := decodeObject(value)
	if reason != "" {
		return event{}, reason
	}
	idName, idReason := memberClickID, reasonClickID
	if t == topicCheckouts {
		idName, idReason = memberCheckoutID, reasonCheckoutID
	}
	// The first member that is wrong decides the reason, in this order.
	if e.id, reason = decodeID(members[idName], idReason); reason != "" {
		return event{}, reason
	}
	if e.user, reason = decodeUser(members[memberUser]); reason != "" {
		return event{}, reason
	}
	if e.product, reason = decodeID(members[memberProduct], reasonProductID); reason != "" {
		return event{}, reason
	}
	text, isString, clean := decodeString(members[memberTime])
	if isString && !clean {
		return event{}, reasonText
	}
	var ok bool
	if e.time, ok = parseTime(text, zone); !isString || !ok {
		return event{}, reasonTime
	}
	if t == topicClicks {
		return e, ""
	}
	e.values = make([]optional, len(ownColumns))
	for _, amounts := range []bool{true, false} {
		for i, c := range ownColumns {
			if c.amount != amounts {
				continue
			}
			decodeValue := decodeText
			if c.amount {
				decodeValue = decodeAmount
			}
			if e.values[i], reason = decodeValue(members[c.member]); reason != "" {
				return event{}, reason
			}
		}
	}
	return e, ""
}

// decodeText takes a string; NULL or absent is NULL.
func decodeText(raw json.RawMessage) (optional, string) {
	if isNull(raw) {
		return optional{}, ""
	}
	text, isString, clean := decodeString(raw)
	if !isString || !clean {
		return optional{}, reasonText
	}
	return some(text), ""
}

func decodeID(raw json.RawMessage, reason string) (string, string) {
	text, isString, clean := decodeString(raw)
	switch {
	case !isString:
		return "", reason
	case !clean:
		return "", reasonText
	case text == "" || len(text) > maxID:
		return "", reason
	}
	return text, ""
}

// decodeUser takes an integer number or a string of the same form.
func decodeUser(raw json.RawMessage) (int32, string) {
	text := string(raw)
	if s, isString, clean := decodeString(raw); isString {
		if !clean {
			return 0, reasonText
		}
		text = s
	}
	digits := strings.TrimPrefix(text, "-")
	if len(text) > 11 || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, reasonUserID
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, reasonUserID
	}
	return int32(v), ""
}
