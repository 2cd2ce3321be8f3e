package audit

import "time"

// Verdict says in one word how a checkout stands.
type Verdict string

// The verdicts.
const (
	VerdictRight        Verdict = "right"         // the row is what Kafka's records say
	VerdictPending      Verdict = "pending"       // unread records will make the row, or move it
	VerdictLate         Verdict = "late"          // the row differs as firstclick.late says
	VerdictRefusedClick Verdict = "refused_click" // Postgres refused the row's first click: a dead letter says why
	VerdictWrong        Verdict = "wrong"         // the row differs and nothing explains it
	VerdictMissing      Verdict = "missing"       // the checkout was read and has neither a row nor a dead letter
	VerdictDeadLetter   Verdict = "dead_letter"   // it has no row because its record became a dead letter
	VerdictUnverifiable Verdict = "unverifiable"  // there is a row; Kafka no longer holds what it was made of
	VerdictUnknown      Verdict = "unknown"       // no row, no record, no dead letter
)

// Explanation is all that is known about one checkout. Texts are as they came and may be hostile:
// escape them to show them, as WriteTo does. Times are UTC, to the microsecond.
type Explanation struct {
	CheckoutID string   `json:"checkout_id"`
	Group      string   `json:"group"`
	Verdict    Verdict  `json:"verdict"`
	Summary    string   `json:"summary"`       // one sentence
	Why        []string `json:"why,omitempty"` // why this click, a sentence each

	Row  *RowNow     `json:"row,omitempty"`  // as it stood in the snapshot
	User *NameNow    `json:"user,omitempty"` // nil: no record says whose checkout it is, and there is no row
	Join *JoinSpan   `json:"join,omitempty"` // nil: it is not known what to join
	When *Timeliness `json:"when,omitempty"`

	Records []CheckoutRecord `json:"records"` // in Kafka with this checkout_id, as far as was read
	Clicks  []ClickRecord    `json:"clicks"`  // in the window and just outside, by time, id and place
	More    int64            `json:"more"`    // clicks in the window beyond those listed, all later

	DeadLetters []DeadLetter  `json:"dead_letters,omitempty"` // that hold this checkout, or one of the clicks listed
	Late        []LateEvent   `json:"late,omitempty"`
	Searched    []OffsetRange `json:"searched"` // what was read in Kafka
	Notes       []string      `json:"notes,omitempty"`
	Elapsed     time.Duration `json:"elapsed_ns"`
}

// RowNow is a row of commerce.attributed_checkouts. Nil is NULL.
type RowNow struct {
	UserName        *string    `json:"user_name"`
	ClickID         *string    `json:"click_id"`
	ClickTime       *time.Time `json:"click_time"`
	ProductID       *string    `json:"product_id"`
	PaymentMethod   *string    `json:"payment_method"`
	TotalAmount     *string    `json:"total_amount"` // as Postgres prints it
	ShippingAddress *string    `json:"shipping_address"`
	BillingAddress  *string    `json:"billing_address"`
	UserAgent       *string    `json:"user_agent"`
	IPAddress       *string    `json:"ip_address"`
	CheckoutTime    *time.Time `json:"checkout_time"`
}

// own are the columns of ownColumns, in their order.
func (r *RowNow) own() []**string {
	return []**string{
		&r.ProductID, &r.PaymentMethod, &r.TotalAmount, &r.ShippingAddress, &r.BillingAddress,
		&r.UserAgent, &r.IPAddress,
	}
}

// JoinSpan is what was joined: candidates are the user's clicks on the product from From to To,
// both included.
type JoinSpan struct {
	UserID    int32         `json:"user_id"`
	ProductID string        `json:"product_id"`
	From      time.Time     `json:"from"`
	To        time.Time     `json:"to"` // the checkout's time
	Window    time.Duration `json:"window_ns"`
	Source    string        `json:"source"` // where the user and the time are known from
}

// Place is where a record is. RecordTime is its timestamp; nil: it has none, or it is not known.
type Place struct {
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Offset     int64      `json:"offset"`
	RecordTime *time.Time `json:"record_time,omitempty"`
}

// Roles of checkout records with one checkout_id.
const (
	RoleSource    = "source"    // the row is made of it, or would be
	RoleDuplicate = "duplicate" // of the same content, or the same click again
	RoleConflict  = "conflict"  // of other content than the row
	RoleRefused   = "refused"   // Postgres refused it
	RoleRejected  = "rejected"  // it became a dead letter for another reason
)

// CheckoutRecord is a record with the checkout_id.
type CheckoutRecord struct {
	Place
	UserID     int32     `json:"user_id"`
	ProductID  string    `json:"product_id"`
	Time       time.Time `json:"time"`
	Role       string    `json:"role"`
	Pending    bool      `json:"pending"`               // at or above the stored position
	Differs    string    `json:"differs,omitempty"`     // the first column in which it is not what the row says
	DeadLetter string    `json:"dead_letter,omitempty"` // the reason of its dead letter
}

// Roles of clicks.
const (
	RoleWinner    = "winner"    // the answer
	RoleRunnerUp  = "runner_up" // the answer if the winner had not been
	RoleCandidate = "candidate" // in the window too
	RoleBefore    = "before"    // before the window
	RoleAfter     = "after"     // after the checkout
)

// ClickRecord is a click of the user on the product. Besides those for clicks, Role may be
// [RoleDuplicate] (same time, same id as one before it) or [RoleRejected].
type ClickRecord struct {
	Place
	ClickID    string        `json:"click_id"`
	Time       time.Time     `json:"time"`
	Before     time.Duration `json:"before_ns"` // how long before the checkout; negative: after it
	Role       string        `json:"role"`
	Row        bool          `json:"row"`     // the row has this click
	Pending    bool          `json:"pending"` // at or above the stored position
	Late       bool          `json:"late"`    // in firstclick.late
	DeadLetter string        `json:"dead_letter,omitempty"`
}

// NameNow says where a row's user_name comes from.
type NameNow struct {
	ID      *int32     `json:"id,omitempty"`       // nil: not known
	Name    *string    `json:"name,omitempty"`     // in commerce.users now
	Exists  bool       `json:"exists"`             // in commerce.users now
	NotedAt *time.Time `json:"noted_at,omitempty"` // in firstclick.unknown_users: to be filled in when the user appears
	Story   string     `json:"story"`              // one sentence
}

// Timeliness says when the row was written, as far as can be known, and whether it may still move.
type Timeliness struct {
	CommittedAt    *time.Time `json:"committed_at,omitempty"`    // of the row; only under track_commit_timestamp
	NotBefore      *time.Time `json:"not_before,omitempty"`      // the record's timestamp
	NotAfter       *time.Time `json:"not_after,omitempty"`       // when the shard last said how far it is
	CorrectedAfter *time.Time `json:"corrected_after,omitempty"` // its click came to Kafka then: likely a correction
	Watermark      *time.Time `json:"watermark,omitempty"`
	FinalBefore    *time.Time `json:"final_before,omitempty"` // click columns of rows before it do not move
	Final          bool       `json:"final"`
	Story          []string   `json:"story"`
}

// DeadLetter is one of firstclick.dead_letters.
type DeadLetter struct {
	Place
	ID        int64     `json:"id"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail"`
	Status    string    `json:"status"` // open, retried, dropped
	CreatedAt time.Time `json:"created_at"`
}

// LateEvent is one of firstclick.late.
type LateEvent struct {
	Place
	Kind       string     `json:"kind"` // click, checkout
	EventID    string     `json:"event_id"`
	UserID     int32      `json:"user_id"`
	ProductID  string     `json:"product_id"`
	Time       time.Time  `json:"time"`
	RecordedAt time.Time  `json:"recorded_at"`
	RepairedAt *time.Time `json:"repaired_at,omitempty"`
}

// OffsetRange is what was read of a partition: From <= offset < To. A partition may have several.
type OffsetRange struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}
