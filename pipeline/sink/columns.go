package sink

import (
	"slices"
	"strings"

	"firstclick/cdc"
	"firstclick/join/event"
)

// column is a column of commerce.attributed_checkouts that the sink writes. All that names columns
// walks over the list: COPY, the comparison of duplicates, corrections, the names that are filled
// in, and the check of the table.
type column struct {
	name   string
	origin origin
	kind   event.Kind
	value  string // ofUser: an expression over commerce.users
}

// origin is what a column's value comes with.
type origin int

const (
	ofCheckout origin = iota // duplicates are compared by it
	ofClick                  // NULL without a click; corrections change it
	ofUser                   // NULL while the user is unknown
)

// kindTime is event time, beside the kinds of event.
const kindTime = event.KindNumber + 1

// columns is in the order of COPY. It begins with event.Columns.
var columns = func() (all []column) {
	for _, c := range event.Columns {
		all = append(all, column{name: c.Name, kind: c.Kind})
	}
	return append(all,
		column{name: "checkout_time", kind: kindTime},
		column{name: "click_id", origin: ofClick, kind: event.KindID},
		column{name: "click_time", origin: ofClick, kind: kindTime},
		column{name: "user_name", origin: ofUser, kind: event.KindText, value: cdc.UsernameSQL})
}()

// types are those that Postgres reads from the same binary form. The first is for ADD COLUMN.
func (c column) types() []string {
	switch c.kind {
	case event.KindNumber:
		return []string{"numeric"}
	case kindTime:
		return []string{"timestamp", "timestamptz"}
	}
	return []string{"varchar", "text", "bpchar"}
}

// required says that the value is never NULL.
func (c column) required() bool {
	return c.origin == ofCheckout && (c.kind == event.KindID || c.kind == kindTime)
}

// eachColumn joins what a column becomes in a statement, for all columns or those of one origin.
func eachColumn(separator string, write func(c column) string, of ...origin) string {
	var parts []string
	for _, c := range columns {
		if len(of) == 0 || slices.Contains(of, c.origin) {
			parts = append(parts, write(c))
		}
	}
	return strings.Join(parts, separator)
}
