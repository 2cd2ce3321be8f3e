package shape

import "slices"

// Shape declares a shop's events, lookups and rows.
type Shape struct {
	Clicks, Checkouts Events
	Match             []Match  // 1 to MaxMatch, in the order of the declaration
	Lookups           []Lookup // in the order of the declaration; none: no replication is needed
	Rows              Rows
}

// MaxMatch is how many pairs of members decide whether a click belongs to a checkout, at most.
const MaxMatch = 4

// Events declares one kind of event.
type Events struct {
	Topic     string
	Format    Format
	Where     []Condition // all hold for an event of this kind; other records are passed over
	ID        ID
	Time      Time
	SkipEmpty bool // records without a value are passed over; else they are dead letters
}

// Format is how a record's value is encoded.
type Format string

// The formats.
const (
	JSON     Format = "json"
	Registry Format = "registry" // the wire format of a schema registry; it says which encoding
)

// Condition holds for a record in which Path has one of these values, of the same type.
type Condition struct {
	Path Path
	In   []Literal // one or more, without repetition
}

// Kind is the type of a Literal.
type Kind string

// The kinds of literals.
const (
	String Kind = "string"
	Number Kind = "number"
	Bool   Kind = "bool"
)

// Literal is a value that a condition compares with. 1 is not "1".
type Literal struct {
	Kind Kind
	Text string // Number: its one spelling, see Decimal; Bool: true or false
}

// ID declares where an event's id is, and its type: Text, Bigint or UUID.
type ID struct {
	From Path
	Type Type
}

// Time declares where an event's time is.
type Time struct {
	From Path
	Unit Unit // None: a text, or a type of the format that says its unit
}

// Unit is what a number counts as a time.
type Unit string

// The units of time. NoUnit is for times that are written as text.
const (
	NoUnit       Unit = ""
	Seconds      Unit = "s"
	Milliseconds Unit = "ms"
	Microseconds Unit = "us"
	Nanoseconds  Unit = "ns"
)

// Type is the type by which ids and matches are compared.
type Type string

// The types of ids and matches. Integer is for matches only: 32 bits, by the rules of
// docs/semantics.md.
const (
	Text    Type = "text"
	Integer Type = "integer"
	Bigint  Type = "bigint"
	UUID    Type = "uuid"
)

// Match is a pair of values that are equal for a click and its checkout.
type Match struct {
	Click, Checkout Path
	Type            Type
}

// Lookup declares a table whose columns are looked up by a key that the checkout holds.
type Lookup struct {
	Name  string // before the dot, in a column's source
	Table Table
	Key   string // column
	From  Path   // of the checkout
	// ReadThrough: the table is not mirrored, but queried once for each batch.
	ReadThrough bool
}

// Rows declares the table that is written.
type Rows struct {
	Table   Table
	Columns []Column // in the order of the declaration
}

// Side says which of the sources a column's value comes from.
type Side string

// The sides.
const (
	FromCheckout Side = "checkout"
	FromClick    Side = "click"
	FromLookup   Side = "lookup"
)

// Column declares one column of a row.
type Column struct {
	Name string
	Side Side
	Path Path // of the checkout or the click
	Unit Unit // of a time that is a number; NoUnit otherwise

	Lookup       string // name of the lookup
	LookupColumn string

	// Type is what migrate makes of the column, as it is declared. Empty: see DeclaredType.
	Type string
}

// Table is a table's name, as Postgres stores it.
type Table struct{ Schema, Name string }

// LookupNamed returns the lookup of a name, or nil.
func (s *Shape) LookupNamed(name string) *Lookup {
	for i := range s.Lookups {
		if s.Lookups[i].Name == name {
			return &s.Lookups[i]
		}
	}
	return nil
}

// IsCheckoutID says whether a column holds the checkout's id. Exactly the first such column is the
// row's identity.
func (s *Shape) IsCheckoutID(c *Column) bool {
	return c.Side == FromCheckout && c.Path.Equal(s.Checkouts.ID.From)
}

// IsCheckoutTime says whether a column holds the checkout's event time.
func (s *Shape) IsCheckoutTime(c *Column) bool {
	return c.Side == FromCheckout && c.Path.Equal(s.Checkouts.Time.From) && c.Unit == s.Checkouts.Time.Unit
}

// IsClickID says whether a column holds the click's id.
func (s *Shape) IsClickID(c *Column) bool {
	return c.Side == FromClick && c.Path.Equal(s.Clicks.ID.From)
}

// IsClickTime says whether a column holds the click's event time.
func (s *Shape) IsClickTime(c *Column) bool {
	return c.Side == FromClick && c.Path.Equal(s.Clicks.Time.From) && c.Unit == s.Clicks.Time.Unit
}

// HasClicks says whether a row has columns of the click.
func (s *Shape) HasClicks() bool {
	return slices.ContainsFunc(s.Rows.Columns, func(c Column) bool { return c.Side == FromClick })
}

// OneTopic says whether clicks and checkouts come from one topic.
func (s *Shape) OneTopic() bool { return s.Clicks.Topic == s.Checkouts.Topic }
