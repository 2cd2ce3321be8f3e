package sink

import (
	"slices"
	"strings"

	"firstclick/cdc"
	"firstclick/join/event"
)

// column is a column of commerce.attributed_checkouts that is written. What walks over columns:
// COPY, the comparison of duplicates, corrections, names that are filled in, and the check of the
// table.
type column struct {
	name   string
	origin origin
	// types are those whose binary form is the one that is rendered. The first is for ADD COLUMN.
	types    []string
	required bool   // it is never NULL
	value    string // ofUser: the expression over commerce.users
}

type origin int

const (
	ofCheckout origin = iota // duplicates are compared by it
	ofClick                  // it moves with the click
	ofUser                   // NULL while the user is unknown
)

var (
	textTypes   = []string{"varchar", "text", "bpchar"}
	numberTypes = []string{"numeric"}
	timeTypes   = []string{"timestamp", "timestamptz"}
)

// columns is in the order of COPY.
var columns = func() (all []column) {
	for _, c := range event.Columns {
		types := textTypes
		if c.Kind == event.KindNumber {
			types = numberTypes
		}
		all = append(all, column{name: c.Name, types: types, required: c.Kind == event.KindID})
	}
	return append(all,
		column{name: "checkout_time", types: timeTypes, required: true},
		column{name: "click_id", origin: ofClick, types: textTypes},
		column{name: "click_time", origin: ofClick, types: timeTypes},
		column{name: "user_name", origin: ofUser, types: textTypes, value: cdc.UsernameSQL})
}()

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
