package audit

import "cmp"

// topic is one of the two topics.
type topic byte

const (
	topicClicks topic = iota
	topicCheckouts
)

// kind says what an item is. Among items that are otherwise ordered alike, kinds come in this
// order.
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

// What is known about a record, or a row. Flags of firstclick.late are those of the record.
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
	hasBoth = hasID | hasTime
)

func (c click) ok() bool { return c.set&hasID != 0 }

// halfSet says that click_id and click_time are not both set or both NULL.
func (c click) halfSet() bool { return c.set == hasID || c.set == hasTime }

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
