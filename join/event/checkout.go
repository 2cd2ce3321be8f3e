package event

// A Column is one of the columns that a checkout brings to its row, beside its time. Names of
// columns and of the record's members are the same.
type Column struct {
	Name string
	Kind Kind
}

// Kind is what the values of a column are.
type Kind uint8

// The kinds.
const (
	KindID     Kind = iota // a text of 1 to MaxID bytes, never NULL
	KindText               // any text without NUL
	KindNumber             // a plain decimal: [-]digits[.digits], no exponent, exact
)

// Columns is the order in which a checkout's values are kept, written and compared.
var Columns = [...]Column{
	{"checkout_id", KindID}, {"product_id", KindID}, {"payment_method", KindText}, {"total_amount", KindNumber},
	{"shipping_address", KindText}, {"billing_address", KindText}, {"user_agent", KindText}, {"ip_address", KindText},
}

// Places in Columns of those that are more than a value of the row.
const (
	ColumnID = iota
	ColumnProduct
)

// Checkout is a record of the checkouts topic on its way to its row.
type Checkout struct {
	Offset     int64 // in its partition
	RecordTime int64 // the record's timestamp, micros, or NoTime
	Epoch      int32 // the leader epoch of the record; -1: unknown

	User int32
	Time int64 // event time
	Key  Key   // of user and product
	ID   ID    // checkout_id

	// Barrier is the first request for the clicks' end offsets that began after the fetch of this
	// record: see join.Core.Release.
	Barrier uint64
	// Skip says that there is nothing to join: the record is a control record, or Dead says why it
	// is not a checkout.
	Skip bool
	Dead *DeadLetter

	bytes  []byte // the record's value, then the values of columns that do not stand in it as they are
	value  uint32 // length of the record's value
	values [len(Columns)]Span
}

// Span is where a value lies in the memory of a checkout. The zero Span is NULL: no value begins a
// record.
type Span struct{ From, To uint32 }

// Keep makes memory the checkout's own: it begins with the record's value, of this length.
func (k *Checkout) Keep(memory []byte, value int) { k.bytes, k.value = memory, uint32(value) }

// Set sets a column's value.
func (k *Checkout) Set(column int, at Span) { k.values[column] = at }

// Column is the value of a column. ok is false for NULL.
func (k *Checkout) Column(column int) (value []byte, ok bool) {
	at := k.values[column]
	return k.bytes[at.From:at.To], at != Span{}
}

// Value is the record's value as Kafka gave it.
func (k *Checkout) Value() []byte { return k.bytes[:k.value] }

// Size is how many bytes all values of columns take at most.
func (k *Checkout) Size() int { return len(k.bytes) }

// IDText is the value of checkout_id.
func (k *Checkout) IDText() []byte {
	id, _ := k.Column(ColumnID)
	return id
}

// Product is the value of product_id.
func (k *Checkout) Product() []byte {
	product, _ := k.Column(ColumnProduct)
	return product
}

// ClickAt is a click of a known key.
type ClickAt struct {
	Time int64
	ID   ID
}

// Less says whether a click comes before another: by time, then by the bytes of the id.
func (a ClickAt) Less(b ClickAt) bool {
	return a.Time < b.Time || a.Time == b.Time && a.ID.Compare(b.ID) < 0
}

// Released is a checkout with its first click. It points to the checkout, whose memory is lent: it
// holds until the checkout's row is committed.
type Released struct {
	*Checkout
	ClickTime int64 // only if HasClick
	Click     ID    // likewise
	HasClick  bool
	// Final says that no later click corrects the row: the checkout came after its time was final,
	// or is dated too far ahead. If it is a duplicate, the row that stands does not move either.
	Final bool
}
