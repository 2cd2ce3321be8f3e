package audit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"firstclick/internal/kafkaconn"
)

// Config says what to audit. Window, Lateness, OutOfOrder and Zone are stored per group by the pipeline and taken from there:
// here zero (nil) means "as stored", and a value that differs from the stored one is an error. Only for a group that never
// ran do they count by themselves (defaults: 1 hour, 15 minutes, 15 seconds, UTC).
type Config struct {
	Kafka    kafkaconn.Config
	Database string // connection string

	ClicksTopic, CheckoutsTopic, Group string

	Window, Lateness, OutOfOrder time.Duration
	Zone                         *time.Location

	TempDir    string // where the sorts spill; "" is the system's
	SortMemory int64  // bytes one sort holds before it spills; 0: 48 MiB. At most two sorts fill at a time
	Examples   int    // how many of each kind the report shows; 0: 5; negative: none
	Names      bool   // demand that every row's user_name is the user's name now: only true where nobody was renamed or deleted

	Progress io.Writer // lines about how far it is; nil: none
	Logger   *slog.Logger
}

// RepairReport is what Repair did.
type RepairReport struct {
	Late     int64         `json:"late"`     // events recorded late and not yet repaired, when it began
	Repaired int64         `json:"repaired"` // of them marked as repaired now
	Left     int64         `json:"left"`     // checkouts recorded late that Kafka no longer holds: nothing to recompute them from
	Moved    int64         `json:"moved"`    // rows that moved to an earlier click
	Kept     int64         `json:"kept"`     // rows found wanting that somebody else moved meanwhile
	Notes    []string      `json:"notes,omitempty"`
	Examples []Example     `json:"examples,omitempty"`
	Elapsed  time.Duration `json:"elapsed_ns"`
}

// Verify recomputes every row from Kafka and compares. The error is about not having been able to; what was found wrong is in
// the report, see Report.OK.
func Verify(ctx context.Context, cfg Config) (*Report, error) {
	return nil, errors.New("not built yet")
}

// Repair recomputes the rows that firstclick.late could have changed, and moves those that have an earlier click. Running it
// again, or while the pipeline runs, is harmless.
func Repair(ctx context.Context, cfg Config) (*RepairReport, error) {
	return nil, errors.New("not built yet")
}
