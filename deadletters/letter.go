package deadletters

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Status is what has become of a letter. The words are those of the table.
type Status string

// The statuses. Any stands for all of them in a Filter.
const (
	Any     Status = "any"
	Open    Status = "open"
	Retried Status = "retried"
	Dropped Status = "dropped"
)

// Letter is a row of firstclick.dead_letters. Times are UTC, in microseconds.
type Letter struct {
	ID         int64      `json:"id"`
	Group      string     `json:"group"`
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Offset     int64      `json:"offset"`
	Reason     string     `json:"reason"`
	Detail     string     `json:"detail"`
	Size       int64      `json:"payload_size"` // bytes of the record's value
	SHA256     string     `json:"payload_sha256,omitempty"`
	Kept       bool       `json:"payload_kept"` // false: over 1 MiB, or one of too many in its hour
	RecordTime *time.Time `json:"record_time,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	Status     Status     `json:"status"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`

	// Payload is the record's value; set by Show only. nil: the record had none, or it was not
	// kept.
	Payload []byte `json:"payload,omitempty"`
}

// Place is where the record is in Kafka.
func (l *Letter) Place() string { return fmt.Sprintf("%s[%d]@%d", l.Topic, l.Partition, l.Offset) }

// Filter selects letters. The zero value selects every open letter of the group "firstclick".
type Filter struct {
	IDs     []int64   // only these; nil: any
	Group   string    // empty: firstclick
	Reasons []string  // nil: any
	Topic   string    // empty: any
	Since   time.Time // became a dead letter at or after it; zero: no bound
	Until   time.Time // became a dead letter before it; zero: no bound
	Status  Status    // empty: Open
}

func (f *Filter) group() string { return cmp.Or(f.Group, "firstclick") }

// where is the filter as SQL over its arguments. Every query and change uses it, so that an id
// alone reaches neither another group's letter nor one that somebody else has resolved meanwhile.
func (f *Filter) where() (sql string, args []any) {
	var terms []string
	add := func(use bool, term string, arg any) {
		if use {
			args = append(args, arg)
			terms = append(terms, fmt.Sprintf(term, len(args)))
		}
	}
	add(true, "group_id = $%d", f.group())
	add(f.IDs != nil, "id = ANY ($%d)", f.IDs)
	add(len(f.Reasons) > 0, "reason = ANY ($%d)", f.Reasons)
	add(f.Topic != "", "topic = $%d", f.Topic)
	add(!f.Since.IsZero(), "created_at >= $%d", f.Since)
	add(!f.Until.IsZero(), "created_at < $%d", f.Until)
	add(f.Status != Any, "status = $%d", string(cmp.Or(f.Status, Open)))
	return strings.Join(terms, " AND "), args
}
