package decode

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"firstclick/join/event"
)

// The decoding rules again, plain and slow, on encoding/json: what the decoder is tested against.

// plainEvent is a checkout by the plain decoder.
type plainEvent struct {
	ID, Product []byte
	User        int32
	Time        int64
	texts       map[string]optionalText
}

// optionalText is a text, or none.
type optionalText struct {
	B     []byte
	Valid bool
}

func plainErr(r event.Reason) *event.DecodeError {
	return &event.DecodeError{Reason: r, Detail: "plain"}
}

func plainObject(value []byte) (map[string]json.RawMessage, *event.DecodeError) {
	switch {
	case len(value) == 0:
		return nil, plainErr(event.ReasonEmpty)
	case len(value) > event.MaxRecord:
		return nil, plainErr(event.ReasonTooLarge)
	case !json.Valid(value):
		return nil, plainErr(event.ReasonJSON)
	case bytes.TrimLeft(value, " \t\r\n")[0] != '{':
		return nil, plainErr(event.ReasonShape)
	case !utf8.Valid(value):
		return nil, plainErr(event.ReasonText)
	}
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(value, &m); err != nil {
		return nil, plainErr(event.ReasonJSON)
	}
	return m, nil
}

var plainEscape = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)

// plainString is the text of a JSON string; ok false for NUL and lone surrogates.
func plainString(raw json.RawMessage) (s string, ok bool) {
	pending := false // a high surrogate waits for its other half
	next := -1
	for _, at := range plainEscape.FindAllIndex(raw, -1) {
		esc := string(raw[at[0]:at[1]])
		if pending && at[0] != next {
			return "", false
		}
		v := int64(-1)
		if esc[1] == 'u' {
			v, _ = strconv.ParseInt(esc[2:], 16, 32)
		}
		low, high := v >= 0xdc00 && v <= 0xdfff, v >= 0xd800 && v <= 0xdbff
		if v == 0 || low != pending {
			return "", false
		}
		pending, next = high, at[1]
	}
	if pending {
		return "", false
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

func plainID(raw json.RawMessage, reason event.Reason) ([]byte, *event.DecodeError) {
	if len(raw) == 0 || raw[0] != '"' {
		return nil, plainErr(reason)
	}
	s, ok := plainString(raw)
	if !ok {
		return nil, plainErr(event.ReasonText)
	}
	if len(s) < 1 || len(s) > event.MaxID {
		return nil, plainErr(reason)
	}
	return []byte(s), nil
}

var (
	plainInt    = regexp.MustCompile(`^-?[0-9]+$`)
	plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	plainStamp  = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?:(:\d\d)([.,]\d{1,9})?)?` +
		`(?:([Zz])|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)?$`)
)

func plainUser(raw json.RawMessage) (int32, *event.DecodeError) {
	s := string(raw)
	if strings.HasPrefix(s, `"`) {
		var ok bool
		if s, ok = plainString(raw); !ok {
			return 0, plainErr(event.ReasonText)
		}
	}
	if !plainInt.MatchString(s) || len(s) > 11 {
		return 0, plainErr(event.ReasonUserID)
	}
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, plainErr(event.ReasonUserID)
	}
	return int32(v), nil
}

func plainTime(zone *time.Location, raw json.RawMessage) (int64, *event.DecodeError) {
	if len(raw) == 0 || raw[0] != '"' {
		return 0, plainErr(event.ReasonTime)
	}
	s, ok := plainString(raw)
	if !ok {
		return 0, plainErr(event.ReasonText)
	}
	m := plainStamp.FindStringSubmatch(s)
	if m == nil {
		return 0, plainErr(event.ReasonTime)
	}
	seconds := m[3]
	if seconds == "" {
		seconds = ":00"
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", m[1]+" "+m[2]+seconds, time.UTC) // calendar
	if err != nil {
		return 0, plainErr(event.ReasonTime)
	}
	switch {
	case m[5] != "":
	case m[6] != "":
		h, _ := strconv.Atoi(m[7])
		mi, _ := strconv.Atoi(m[8]) // none: 0
		shift := time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute
		if m[6] == "-" {
			shift = -shift
		}
		at = at.Add(-shift)
	default:
		at = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, zone).UTC()
	}
	if at.Year() < 1970 || at.Year() > 9999 {
		return 0, plainErr(event.ReasonTime)
	}
	frac, _ := strconv.ParseInt((strings.TrimLeft(m[4], ".,") + "000000")[:6], 10, 64)
	return at.Unix()*1e6 + frac, nil
}

func plainAmount(raw json.RawMessage) (optionalText, *event.DecodeError) {
	s := string(raw)
	if s == "" || s == "null" {
		return optionalText{}, nil
	}
	if s[0] == '"' {
		var ok bool
		if s, ok = plainString(raw); !ok {
			return optionalText{}, plainErr(event.ReasonText)
		}
	}
	if len(s) > 64 || !plainNumber.MatchString(s) {
		return optionalText{}, plainErr(event.ReasonAmount)
	}
	mant, expText, has := strings.Cut(strings.ToLower(s), "e")
	if !has {
		return optionalText{B: []byte(s), Valid: true}, nil
	}
	exp, err := strconv.Atoi(expText)
	if err != nil || exp < -64 || exp > 64 {
		return optionalText{}, plainErr(event.ReasonAmount)
	}
	_, frac, _ := strings.Cut(mant, ".")
	r, _ := new(big.Rat).SetString(s)
	out := r.FloatString(max(len(frac)-exp, 0))
	if strings.HasPrefix(mant, "-") && !strings.HasPrefix(out, "-") {
		out = "-" + out
	}
	return optionalText{B: []byte(out), Valid: true}, nil
}

func plainText(raw json.RawMessage) (optionalText, *event.DecodeError) {
	if len(raw) == 0 || string(raw) == "null" {
		return optionalText{}, nil
	}
	if raw[0] != '"' {
		return optionalText{}, plainErr(event.ReasonText)
	}
	s, ok := plainString(raw)
	if !ok {
		return optionalText{}, plainErr(event.ReasonText)
	}
	return optionalText{B: []byte(s), Valid: true}, nil
}

func plainClick(zone *time.Location, value []byte, c *Click, id *[]byte) (e *event.DecodeError) {
	m, e := plainObject(value)
	if e != nil {
		return e
	}
	if *id, e = plainID(m["click_id"], event.ReasonClickID); e != nil {
		return e
	}
	if c.User, e = plainUser(m["user_id"]); e != nil {
		return e
	}
	if c.Product, e = plainID(m["product_id"], event.ReasonProductID); e != nil {
		return e
	}
	c.Time, e = plainTime(zone, m["datetime_occured"])
	return e
}

func plainCheckout(zone *time.Location, value []byte, k *plainEvent) (e *event.DecodeError) {
	*k = plainEvent{}
	m, e := plainObject(value)
	if e != nil {
		return e
	}
	if k.ID, e = plainID(m["checkout_id"], event.ReasonCheckoutID); e != nil {
		return e
	}
	if k.User, e = plainUser(m["user_id"]); e != nil {
		return e
	}
	if k.Product, e = plainID(m["product_id"], event.ReasonProductID); e != nil {
		return e
	}
	if k.Time, e = plainTime(zone, m["datetime_occured"]); e != nil {
		return e
	}
	k.texts = map[string]optionalText{}
	if k.texts["total_amount"], e = plainAmount(m["total_amount"]); e != nil {
		return e
	}
	for _, name := range []string{"payment_method", "shipping_address", "billing_address", "user_agent", "ip_address"} {
		if k.texts[name], e = plainText(m[name]); e != nil {
			return e
		}
	}
	return nil
}
