package deadletters

import (
	"fmt"
	"strings"
	"time"
)

// Status is what has become of a letter; the words are those of the table.
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
	Kept       bool       `json:"payload_kept"` // false: over 1 MiB, or one of too many in its hour: only size and hash are known
	RecordTime *time.Time `json:"record_time,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	Status     Status     `json:"status"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`

	// Payload is the record's value; filled in by Show only. nil: the record had none, or it was not kept.
	Payload []byte `json:"payload,omitempty"`
}

// Place is where the record stands in Kafka.
func (l *Letter) Place() string { return fmt.Sprintf("%s[%d]@%d", l.Topic, l.Partition, l.Offset) }

// Filter says which letters are meant. The zero value means every open letter of the group "firstclick".
type Filter struct {
	IDs     []int64   // these alone; nil: by the rest of the filter
	Group   string    // empty: firstclick
	Reasons []string  // nil: every reason
	Topic   string    // empty: every topic
	Since   time.Time // became a dead letter at or after it; zero: no bound
	Until   time.Time // became a dead letter before it; zero: no bound
	Status  Status    // empty: Open
}

func (f *Filter) group() string {
	if f.Group == "" {
		return "firstclick"
	}
	return f.Group
}

// where is the filter as SQL over its arguments. Whatever is read or changed is asked for by it, so that no id alone reaches another group's letter, or
// one that somebody else has resolved meanwhile.
func (f *Filter) where() (sql string, args []any) {
	var terms []string
	add := func(term string, arg any) {
		args = append(args, arg)
		terms = append(terms, fmt.Sprintf(term, len(args)))
	}
	add("group_id = $%d", f.group())
	if f.IDs != nil {
		add("id = ANY ($%d)", f.IDs)
	}
	if len(f.Reasons) > 0 {
		add("reason = ANY ($%d)", f.Reasons)
	}
	if f.Topic != "" {
		add("topic = $%d", f.Topic)
	}
	if !f.Since.IsZero() {
		add("created_at >= $%d", f.Since)
	}
	if !f.Until.IsZero() {
		add("created_at < $%d", f.Until)
	}
	switch f.Status {
	case "":
		add("status = $%d", string(Open))
	case Any:
	default:
		add("status = $%d", string(f.Status))
	}
	return strings.Join(terms, " AND "), args
}
