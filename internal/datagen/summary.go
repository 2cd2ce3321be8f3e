package datagen

import (
	"maps"
	"time"
)

// Summary counts what Kafka acknowledged (transactional: committed).
type Summary struct {
	Clicks    int64 // distinct valid clicks, also those that are refused for their future time
	Checkouts int64 // distinct valid checkouts, likewise
	Records   int64 // every record: events, duplicates, conflicts, bad records

	DuplicateClicks    int64 // equal copies, in addition
	DuplicateCheckouts int64
	Conflicts          int64 // checkouts with the checkout_id of another one and other content, in addition

	OutOfOrder int64 // events produced up to 10 s after their event time
	Late       int64 // clicks produced 20 s to 20 min after their event time

	Future                 int64 // events up to 4.5 min ahead of their record's timestamp: accepted
	FutureRefusedClicks    int64 // events 6 to 60 min ahead of their record's timestamp: dead letters
	FutureRefusedCheckouts int64

	UnknownUserEvents    int64 // events of users that are not among 0..Users-1
	UnknownUserCheckouts int64 // the checkouts among them that are not refused: rows without a name
	HotKey               int64 // events of the hot user and product

	Poison   map[string]int64 // bad records by kind (see Poisons), both topics
	TooLarge int64            // records above 1 MiB

	DeadLetters map[Letter]int64 // the dead letters to expect, by topic and reason

	Users    int64 // inserted by this run
	Products int64
	Updated  int64 // usernames updated right after their insert
	Renames  int64 // usernames changed while events flowed

	Transactions        int64 // committed
	TransactionsAborted int64
	RecordsAborted      int64

	First, Last time.Time     // event clock of the first and the last record
	Elapsed     time.Duration // from the first event to the last acknowledgement
}

// Letter is a kind of dead letters: those of one topic for one reason.
type Letter struct {
	Topic  string
	Reason string // one of the stable words of join.Reason
}

// Rows is the number of rows that the pipeline writes for this run: one per distinct checkout_id
// that is not refused.
func (s Summary) Rows() int64 { return s.Checkouts - s.FutureRefusedCheckouts }

// Dead is the number of dead letters over all topics and reasons.
func (s Summary) Dead() int64 {
	var n int64
	for c := range maps.Values(s.DeadLetters) {
		n += c
	}
	return n
}
